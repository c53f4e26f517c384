#!/bin/bash
# A detach under heavy loss, while udev still reads the devices: it waits for the readers, and is clean.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D2 D4 D7 D13 B7
# limit: 600s
# soak
. /lab/lib.sh

for rate in 30% 50%; do
    for readers in "of the connect" "of a change"; do
        step "$rate lost, udev's readers $readers"
        connect 1
        write_pattern "$(field .device_node)" "$rate"
        lab drop $rate
        [ "$readers" = "of the connect" ] || udevadm trigger -c change -s block
        begin disconnect 1 --deadline 200s
        ended 200
        truthful
        [ "$code" = 0 ] || fail "expected it to be clean"
        lab heal
        connect 1
        verify_pattern "$(field .device_node)" "$rate"
        disconnect 1
        no_leftovers
    done
done
