#!/bin/bash
# A secret that is wrong, on either side, is told as what it is, at once, and neither it nor the right ones are
# shown: in no argument or environment of a program, answer, progress, state or log; nothing is left.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C18 B8
# limit: 300s
. /lab/lib.sh

# What earlier cases have left there is none of this one's.
find /tmp -type f -delete
lab chap mutual
wrong=WrongSecretPw3Rt
secrets=$(lab connection 1 | jq -r '.data | .auth_password, .auth_password_in' && echo $wrong)
[ "$(wc -w <<<"$secrets")" = 3 ] || fail "expected three secrets"

refused() { # KEY OPTION…
    local key=$1 code=0
    shift
    began=$SECONDS
    lab connection 1 | jq ".data.$key = \"$wrong\"" | secretly connect "$@" || code=$?
    [ $code = 3 ] || fail "expected exit code 3, saw $code: $(cat "$answer" /tmp/progress-connect)"
    # A login that gets no answer is tried for five seconds, eight times; strace has its price as well.
    [ $((SECONDS - began)) -le 25 ] || fail "expected the end by 25 s, saw it after $((SECONDS - began)) s"
    expect_json '.error.kind == "not_attached" and .error.leftovers == []'
    expect_json 'any(.error.causes[]; contains("authentication"))'
    shows_no_secret connect
    nowhere /etc "$nodes"
    no_leftovers
}

refused auth_password
refused auth_password_in
refused auth_password --single-path

step "the right ones are taken"
lab connection 1 >/tmp/right.json
connect /tmp/right.json
disconnect /tmp/right.json
