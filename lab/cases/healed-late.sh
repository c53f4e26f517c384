#!/bin/bash
# Portals that are healed after they were silent for more than a minute: their paths are in the map at most 10 s later, without
# another command, as long as the deadline is not over.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B1 B2
# limit: 30m
# soak
. /lab/lib.sh

# Not multiples of each other, so that they meet retries at different places. The last is the last that must do: the login that is under
# way then takes 8 s at most, and another is begun as long as 8 s of the 120 s are left.
for silent in 23 47 61 89 104; do
    for dead in 3 "2 4"; do
        # shellcheck disable=SC2086 # several numbers
        lab drop 100% $dead
        began=$SECONDS
        connect 1
        map=$(field .map)
        while [ $((SECONDS - began)) -lt $silent ]; do sleep 0.1; done
        step "portals $dead are healed after $silent s"
        lab heal
        timed wait_until 10 "all four paths were in the map" active 4
        echo "it took $took ms"
        write_pattern "/dev/mapper/$map" "$silent-$dead"
        verify_pattern "/dev/mapper/$map" "$silent-$dead"
        disconnect 1
        expect_json '.outcome == "clean"'
        no_leftovers
    done
done
