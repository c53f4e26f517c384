#!/bin/bash
# A secret that is wrong, on either side, is told as what it is, at once and without being shown; nothing is left.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C18 B8
# limit: 120s
. /lab/lib.sh

lab chap mutual

refused() { # KEY OPTION…
    local key=$1 began code
    shift
    lab connection 1 | jq ".data.$key = \"WrongSecretPw3Rt\"" >/tmp/wrong.json
    began=$SECONDS
    code=0
    bowline connect /tmp/wrong.json --json --progress json "$@" >"$answer" 2>/tmp/events || code=$?
    [ $code = 3 ] || fail "expected exit code 3, saw $code: $(cat "$answer" /tmp/events)"
    # A login that gets no answer is tried for five seconds, six times.
    [ $((SECONDS - began)) -le 12 ] || fail "expected the end by 12 s, saw it after $((SECONDS - began)) s"
    expect_json '.error.kind == "not_attached" and .error.leftovers == []'
    expect_json 'any(.error.causes[]; contains("authentication"))'
    grep -F WrongSecretPw3Rt "$answer" /tmp/events && fail "the secret is shown"
    no_leftovers
}

refused auth_password
refused auth_password_in
refused auth_password --single-path

step "the right ones are taken"
lab connection 1 >/tmp/right.json
connect /tmp/right.json
disconnect /tmp/right.json
