#!/bin/bash
# A detach under heavy loss, while udev still reads the devices: it waits for the readers, and is clean.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D2 D4 D7 D13 B7
# limit: 30m
# soak
. /lab/lib.sh

# Whether a program of udev's has the device open.
read_by_udev() { compgen -G "/proc/[0-9]*/fd/*" | { xargs -r readlink 2>/dev/null || :; } | grep -xF "$1" >/dev/null; }

for rate in 30% 50%; do
    for action in change add; do
        step "$rate lost, and udev reads because of $action"
        connect_all 1
        write_pattern "$(field .device_node)" "$rate"
        udevadm settle
        device=$(readlink -f "$(field .device_node)")
        lab drop $rate
        for ((try = 1; ; try++)); do
            udevadm trigger -c $action -s block
            # Whoever reads waits for what is lost; a reader that lost nothing is gone at once.
            for ((look = 1; look <= 10; look++)); do ! read_by_udev "$device" || break 2; done
            [ $try -lt 20 ] || fail "udev does not read $device for long"
        done
        begin disconnect 1 --deadline 400s
        ended 400
        truthful
        if [ "$rate $code" = "50% 4" ] && [ "$took" -ge 120000 ]; then
            # What is read of a disk is sent again for as long as packets are lost, and udev waits three minutes for it (findings: "udev
            # ends a worker"): all but the links that it has forgotten is gone, and those are named.
            expect_json '.error.leftovers | all(startswith("link /dev/"))'
            jq -r '.error.leftovers[] | split("[ ,]+"; "g")[1]' "$answer" | xargs rm
            code=0
        fi
        [ "$code" = 0 ] || fail "expected it to be clean"
        lab heal
        connect 1
        verify_pattern "$(field .device_node)" "$rate"
        disconnect 1
        no_leftovers
    done
done

step "all is lost while udev reads, and multipathd does not come to it: who reads is set free all the same"
connect_all 1
udevadm settle
device=$(readlink -f "$(field .device_node)")
lab drop 100%
udevadm trigger -c change -s block
reads() { read_by_udev "$device"; }
wait_until 20 "udev reads $device" reads
# Debian 13's was seen to have a child of its own name.
multipathd=$(pgrep -ox multipathd)
kill -STOP "$multipathd"
at_end kill -CONT "$multipathd"
# That multipathd was asked to remove the map cannot be taken back.
expect_exit 4 disconnect 1 --deadline 60s
expect_json 'any(.error.leftovers[]; startswith("multipath map"))'
names_what_is_left
! reads || fail "udev still reads $device"
kill -CONT "$multipathd"
lab heal
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers
