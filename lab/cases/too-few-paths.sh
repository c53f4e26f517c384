#!/bin/bash
# Where fewer paths come than were asked for, connect fails by its deadline and leaves nothing; where nobody asked, they are handed
# out, and who waits for the missing one waits no longer than the deadline either.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B1 B2 B7
# limit: 180s
# soak
. /lab/lib.sh

lab drop 100% 3
step "four are asked for, and three come"
timed expect_exit 3 connect 1 --min-paths 4 --deadline 40s
[ "$took" -le 41000 ] || fail "expected the end by 40 s, saw it after $took ms"
expect_json '.error.kind == "not_attached" and .error.leftovers == []'
expect_json 'any(.error.causes[]; contains("10.0.3.2:3260"))'
no_leftovers

step "nobody asked: the finisher ends by the deadline, and of its login nothing stays"
began=${EPOCHREALTIME/./}
connect 1 --deadline 40s
expect_json '([.paths[] | select(.state == "active")] | length) == 3'
pgrep -f 'bowline finish' >/dev/null || fail "expected a finisher"
wait_until 60 "the finisher ended" no_finisher
took=$(((${EPOCHREALTIME/./} - began) / 1000))
[ "$took" -le 42000 ] || fail "expected the finisher's end by 40 s, saw it after $took ms"
expect_host '(.sessions | length) == 3 and .connecting == [] and .processes == []'
write_pattern "$(field .device_node)" three
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers
