#!/bin/bash
# A connect in whose middle iscsid stops answering ends by its deadline and says truly what is left; once iscsid goes on,
# connect works, and disconnect leaves nothing.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 B7
# limit: 180s
# soak
. /lab/lib.sh

a_record() { compgen -G "$nodes/*/*" >/dev/null; }

began=$SECONDS
bowline connect "$(connection 1)" --json --progress plain --deadline 40s >"$answer" &
wait_until 30 "a_record" a_record
lab freeze iscsid
at_end lab thaw iscsid
code=0
wait $! || code=$?
[ $((SECONDS - began)) -le 42 ] || fail "expected the end by 40 s, saw it after $((SECONDS - began)) s"
jq -c . "$answer"
case $code in
3 | 6) expect_json '.error.leftovers == []' && no_leftovers ;;
4) expect_json '.error.leftovers != []' ;;
*) fail "expected exit code 3, 4 or 6, saw $code" ;;
esac
expect_json '[.error.message] + .error.causes | any(test("iscsid|iscsiadm"))'

step "iscsid goes on"
lab thaw iscsid
connect_all 1
expect_json '([.paths[] | select(.state == "active")] | length) == 4'
write_pattern "$(field .device_node)" thawed
disconnect 1
expect_json '.outcome == "clean"'
