#!/bin/bash
# With every round trip longer by 0.2 s or 0.5 s a volume is attached by all four paths, used and detached, within the
# usual deadlines.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C3 D4 B7
# limit: 15m
# soak
. /lab/lib.sh

for round_trip in 200 500; do
    lab delay "$round_trip"
    timed connect_all 1
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
