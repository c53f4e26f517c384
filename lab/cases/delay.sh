#!/bin/bash
# With every round trip longer by 0.2 s, 0.5 s or 1 s (half a second each way) a volume is attached by all four paths, used
# and detached, within the usual deadlines; at a second, connect is given 240 s.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C3 D4 B7
# limit: 600s
# soak
. /lab/lib.sh

for round_trip in 200 500 1000; do
    lab delay "$round_trip"
    deadline=120s
    [ "$round_trip" != 1000 ] || deadline=240s
    timed connect_all 1 --deadline $deadline
    echo "$round_trip ms a round trip: connect took $took ms"
    expect_json '([.paths[] | select(.state == "active")] | length) == 4'
    write_pattern "$(field .device_node)" "$round_trip"
    verify_pattern "$(field .device_node)" "$round_trip"
    timed disconnect 1
    echo "$round_trip ms a round trip: disconnect took $took ms"
    expect_json '.outcome == "clean"'
    no_leftovers
    lab heal
done
