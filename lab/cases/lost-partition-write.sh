#!/bin/bash
# A write that was lost is told once, to the flush of what it went through: the volume, or a partition of it, whose own flush alone is
# told. A disconnect says so, and everything stays.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D7 D11
# limit: 15m
# soak
. /lab/lib.sh

states() { # STATE
    local hctl
    for hctl in $hctls; do
        echo "$1" >"/sys/class/scsi_device/$hctl/device/state"
    done
}
told_of() { dmesg | grep -q "Buffer I/O error on dev $1, .*, lost async page write"; }

lost_write() { # whole|partition OPTION…
    local what=$1 options=("${@:2}") lost
    step "through the $what, ${options[*]}"
    blank 61
    connect 61 "${options[@]}"
    device=$(field .device_node)
    map=$(field '.map // empty')
    lost=$device
    if [ "$what" = partition ]; then
        partition "$device"
        lost=$(part "$device" 1)
    fi
    hctls=$(host '.scsi_devices[].hctl')
    [ -z "$map" ] || multipathd disablequeueing map "$map"
    # udev would have kpartx read a table that cannot be read, and so remove the partition with what is known of it.
    udevadm control --stop-exec-queue
    at_end udevadm control --start-exec-queue
    # Opened before: a disk that is offline cannot be. The last close writes, and tells nobody that it failed.
    exec 4>"$lost"
    states offline
    pattern lost >&4
    exec 4>&-
    wait_until 30 "the write was lost" told_of "$(basename "$(readlink -f "$lost")")"
    states running
    if [ -n "$map" ]; then
        multipathd restorequeueing map "$map"
        wait_until 60 "every path is active" active 4
    fi
    expect_exit 5 disconnect 61
    expect_json '.error.message | test("a write to .* is lost")'
    expect_json '.error.leftovers == []'
    udevadm control --start-exec-queue
    udevadm settle
    write_pattern "$lost" again
    verify_pattern "$lost" again
    # Nobody but the caller knows whether what was written since replaces what was lost.
    disconnect 61
    expect_json '.outcome == "data_may_be_lost" and any(.warnings[]; contains("was lost"))'
    no_leftovers
}

for what in partition whole; do
    lost_write $what --min-paths 4
    lost_write $what --single-path
done
