#!/bin/bash
# A write through a partition that was lost is told to the partition's own flush alone: a disconnect says so, once, and
# everything stays.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D7 D11
# limit: 240s
# soak
. /lab/lib.sh

states() { # STATE
    for device in $(host '.scsi_devices[].hctl'); do
        echo "$1" >"/sys/class/scsi_device/$device/device/state"
    done
}
all_active() { [ "$(dmsetup status "$map" | grep -oE '[0-9]+:[0-9]+ A' | wc -l)" = 4 ]; }

for options in "--min-paths 4" --single-path; do
    read -ra options <<<"$options"
    blank 61
    connect 61 "${options[@]}"
    device=$(field .device_node)
    map=$(field '.map // empty')
    partition "$device"
    [ -z "$map" ] || multipathd disablequeueing map "$map"
    states offline
    pattern lost | dd of="$(part "$device" 1)" bs=64k iflag=fullblock status=none || :
    # Written now, whoever else has it open; and unlike fsync this leaves the error to be told.
    sync
    states running
    if [ -n "$map" ]; then
        multipathd restorequeueing map "$map"
        wait_until 60 "every path is active" all_active
    fi
    expect_exit 5 disconnect 61
    expect_json '.error.message | test("a write to .* is lost")'
    expect_json '.error.leftovers == []'
    write_pattern "$(part "$device" 1)" again
    verify_pattern "$(part "$device" 1)" again
    disconnect 61
    no_leftovers
done
