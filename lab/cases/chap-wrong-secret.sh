#!/bin/bash
# A secret that is wrong, on either side, is told as what it is, at once, and neither it nor the right ones are
# shown: in no argument or environment of a program, answer, progress, state or log; nothing is left.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C18 B8
# limit: 300s
. /lab/lib.sh

# What earlier cases have left there is none of this one's.
find /tmp -type f -delete
listen_to_iscsid
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
    shows_no_secret connect
    nowhere /etc "$nodes"
    no_leftovers
}
refused_in_json() { # KEY OPTION…
    refused "$@"
    expect_json '.error.kind == "not_attached" and .error.leftovers == []'
    expect_json 'any(.error.causes[]; contains("authentication"))'
}
refused_in_words() { # KEY
    spoken=plain refused "$1"
    [ ! -s "$answer" ] || fail "expected no device, saw $(cat "$answer")"
    grep -q 'caused by:.*authentication' /tmp/progress-connect || fail "expected the cause, saw $(cat /tmp/progress-connect)"
}

refused_in_json auth_password
refused_in_json auth_password_in
refused_in_json auth_password --single-path
refused_in_words auth_password
refused_in_words auth_password_in

step "the right ones are taken"
for verb in connect disconnect; do
    lab connection 1 | secretly $verb || fail "$verb: $(cat "$answer" /tmp/progress-$verb)"
    shows_no_secret $verb
done
expect_json '.outcome == "clean"'
nowhere /etc "$nodes"
