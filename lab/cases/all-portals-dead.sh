#!/bin/bash
# With every portal silent, connect fails by its deadline, says why of each, and leaves the host as it was.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 B7
# limit: 90s
# any target
. /lab/lib.sh

lab drop 100%
began=${EPOCHREALTIME/./}
expect_exit 3 connect 1 --deadline 40s
took=$(((${EPOCHREALTIME/./} - began) / 1000))
# The program's own start and end are not the deadline's.
[ "$took" -le 41000 ] || fail "expected the end by 40 s, saw it after $took ms"
expect_json '.error.kind == "not_attached" and .error.leftovers == []'
for portal in 1 2 3 4; do
    expect_json "any(.error.causes[]; contains(\"10.0.$portal.2:3260\"))"
done
no_leftovers

step "once the network is back, nothing stands in the way"
lab heal
connect_all 1
expect_json '(.paths | length) == 4'
disconnect 1
