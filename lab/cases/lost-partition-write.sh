#!/bin/bash
# A write through a partition that was lost is told to the partition's own flush alone: a disconnect says so, once, and
# everything stays.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D7 D11
# limit: 240s
# soak
. /lab/lib.sh

states() { # STATE
    local hctl
    for hctl in $hctls; do
        echo "$1" >"/sys/class/scsi_device/$hctl/device/state"
    done
}
lost() { dmesg | grep -q "Buffer I/O error on dev $1, .*, lost async page write"; }
all_active() { [ "$(dmsetup status "$map" | grep -oE '[0-9]+:[0-9]+ A' | wc -l)" = 4 ]; }

for options in "--min-paths 4" --single-path; do
    read -ra options <<<"$options"
    blank 61
    connect 61 "${options[@]}"
    device=$(field .device_node)
    map=$(field '.map // empty')
    partition "$device"
    hctls=$(host '.scsi_devices[].hctl')
    [ -z "$map" ] || multipathd disablequeueing map "$map"
    # udev would have kpartx read a table that cannot be read, and so remove the partition with what is known of it.
    udevadm control --stop-exec-queue
    at_end udevadm control --start-exec-queue
    # Opened before: a disk that is offline cannot be. The last close writes, and tells nobody that it failed.
    exec 4>"$(part "$device" 1)"
    states offline
    pattern lost >&4
    exec 4>&-
    wait_until 30 "the write was lost" lost "$(basename "$(readlink -f "$(part "$device" 1)")")"
    states running
    if [ -n "$map" ]; then
        multipathd restorequeueing map "$map"
        wait_until 60 "every path is active" all_active
    fi
    expect_exit 5 disconnect 61
    expect_json '.error.message | test("a write to .* is lost")'
    expect_json '.error.leftovers == []'
    udevadm control --start-exec-queue
    udevadm settle
    write_pattern "$(part "$device" 1)" again
    verify_pattern "$(part "$device" 1)" again
    # Nobody but the caller knows whether what was written since replaces what was lost.
    disconnect 61
    expect_json '.outcome == "data_may_be_lost" and any(.warnings[]; contains("was lost"))'
    no_leftovers
done
