#!/bin/bash
# One portal after another that goes down and comes up every few seconds, silently or refusing, while a volume is connected, written to,
# read back and disconnected: the map is made, the data is right, nothing is left.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C3 D3 D4 B1
# limit: 25m
# soak
. /lab/lib.sh

flap() {
    while :; do
        for portal in 2 1 3; do
            for fault in "drop 100%" reject; do
                # shellcheck disable=SC2086 # two words
                lab $fault $portal
                sleep 3
                lab heal
                sleep 3
            done
        done
    done
}
flap &
flapper=$!
at_end "kill $flapper"

for round in {1..10}; do
    step "round $round"
    timed connect 1 --min-paths 3
    echo "connect took $took ms, $(field '[.paths[].state] | join(" ")')"
    device=$(field .device_node)
    for pass in 1 2 3; do
        write_pattern "$device" "$round-$pass"
        verify_pattern "$device" "$round-$pass"
    done
    timed disconnect 1
    echo "disconnect took $took ms"
    expect_json '.outcome == "clean"'
    no_leftovers
done
