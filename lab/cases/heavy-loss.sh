#!/bin/bash
# At 30 % of all packets lost a volume is attached in time. There and at half of them what is attached is a usable map, detach waits
# for udev's slow readers and is clean, and at half of them an attach that cannot succeed in its time leaves nothing.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C3 D7 D13 B1 B7
# limit: 760s
# soak
. /lab/lib.sh

for rate in 30% 50%; do
    lab drop $rate
    began=$SECONDS code=0
    bowline connect "$(connection 1)" --json --deadline 150s --progress plain >"$answer" || code=$?
    echo "$rate: connect took $((SECONDS - began)) s, exit code $code"
    [ $((SECONDS - began)) -le 152 ] || fail "expected the end by the deadline"
    case $rate-$code in
    *-0)
        expect_json '.map != null'
        began=$SECONDS
        disconnect 1 --deadline 200s
        echo "$rate: disconnect took $((SECONDS - began)) s"
        [ $((SECONDS - began)) -le 202 ] || fail "expected the end by the deadline"
        expect_json '.outcome == "clean"'
        ;;
    50%-3) ;;
    *) fail "$rate: did not expect exit code $code: $(cat "$answer")" ;;
    esac
    lab heal
    no_leftovers
done
