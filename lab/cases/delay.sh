#!/bin/bash
# With every round trip a second longer (half a second each way) a volume is attached by all four paths, used and
# detached, each within a part of its deadline.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C3 D4 B7
# limit: 120s
. /lab/lib.sh

for round_trip in ${*:-400 1000}; do
    lab delay "$round_trip"
    timed connect_all 1 --deadline 60s
    echo "$round_trip ms a round trip: connect took $took ms"
    expect_json '([.paths[] | select(.state == "active")] | length) == 4'
    write_pattern "$(field .device_node)" "$round_trip"
    verify_pattern "$(field .device_node)" "$round_trip"
    timed disconnect 1 --deadline 60s
    echo "$round_trip ms a round trip: disconnect took $took ms"
    expect_json '.outcome == "clean"'
    no_leftovers
    lab heal
done
