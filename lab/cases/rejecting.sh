#!/bin/bash
# Portals that refuse the connection: connect does not wait for them when another works, and names them; when all
# refuse it fails by its deadline, says why, and leaves nothing.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C2 C3 D4 B1 B7
# limit: 180s
. /lab/lib.sh

for refusing in "2" "2 4"; do
    lab reject $refusing
    timed connect 1
    echo "$refusing refuse: connect took $took ms"
    jq -c .failed_paths "$answer"
    [ "$took" -le 15000 ] || fail "expected no waiting for those that refuse, saw $took ms"
    expect_json "[.failed_paths[].portal] == [\"$refusing\" | split(\" \")[] | \"10.0.\(.).2:3260\"]"
    write_pattern "$(field .device_node)" "$refusing"
    timed disconnect 1
    echo "$refusing refuse: disconnect took $took ms"
    expect_json '.outcome == "clean"'
    no_leftovers
    lab heal
done

lab reject
timed expect_exit 3 connect 1 --deadline 40s
echo "all refuse: connect took $took ms"
[ "$took" -le 41000 ] || fail "expected the end by 40 s, saw it after $took ms"
expect_json '.error.leftovers == []'
for portal in 1 2 3 4; do
    expect_json "any(.error.causes[]; contains(\"10.0.$portal.2:3260\"))"
done
no_leftovers
lab heal
connect_all 1
disconnect 1
