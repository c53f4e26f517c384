#!/bin/bash
# Portals that refuse the connection: connect does not wait for them where others work, and names them; when all refuse it
# fails by its deadline, says why of each, and leaves nothing.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C2 C3 D4 B1 B7
# limit: 120s
# soak
. /lab/lib.sh

lab reject 2 4
progress=json timed connect 1 2>/tmp/events
echo "with two that refuse, connect took $took ms"
# Measured from the read of the map, so that it does not depend on how fast the machine is: the two are tried for longer.
within_grace
expect_json '([.failed_paths[].portal] | sort) == ["10.0.2.2:3260", "10.0.4.2:3260"]'
expect_json 'all(.failed_paths[]; .reason | contains("log in"))'
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers
lab heal

lab reject
timed expect_exit 3 connect 1 --deadline 16s
echo "with all that refuse, connect took $took ms"
[ "$took" -le 17000 ] || fail "expected the end by 16 s, saw it after $took ms"
expect_json '.error.leftovers == []'
for portal in 1 2 3 4; do
    expect_json "any(.error.causes[]; contains(\"10.0.$portal.2:3260\"))"
done
