#!/bin/bash
# A logical volume upon a partition, of a map and of a disk: refused, and deactivated it goes.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D7
# limit: 360s
# soak
. /lab/lib.sh

for options in "--min-paths 4" --single-path; do
    read -ra options <<<"$options"
    blank 64
    connect 64 "${options[@]}"
    device=$(field .device_node)
    partition "$device"
    vgcreate --quiet part-vg "$(part "$device" 2)"
    lvcreate --quiet --yes --wipesignatures n -L 12M -n data part-vg
    write_pattern /dev/part-vg/data lvm
    refused 64 "logical volume part-vg/data"
    verify_pattern /dev/part-vg/data lvm
    vgchange --quiet -an part-vg
    clean_disconnect 64
done
