#!/bin/bash
# Force while a partition is mounted: its disks and sessions go, map, partition and mount point are named; unmounted, the
# same again takes the rest.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D8 D9 K1
# limit: 240s
# soak
. /lab/lib.sh

blank 61
connect_all 61
device=$(field .device_node)
map=$(field .map)
partition "$device"
make_files "$(part "$device" 1)"
expect_exit 4 disconnect 61 --force
expect_json "any(.error.leftovers[]; contains(\"multipath map $map\"))"
expect_json "any(.error.leftovers[]; contains(\"partition map $map-part1\"))"
expect_json 'any(.error.causes[]; contains("mounted at /tmp/mounted"))'
expect_host '.sessions == [] and .scsi_devices == [] and .node_records == []'
umount /tmp/mounted
disconnect 61 --force
no_leftovers

step "the same of a disk: its mount has lost its disk, and that is said"
connect 61 --single-path
mount_at "$(part "$(field .device_node)" 1)"
echo unwritten >/tmp/mounted/unwritten
disconnect 61 --force
expect_json '.outcome == "data_may_be_lost" and any(.warnings[]; contains("mounted at /tmp/mounted"))'
umount /tmp/mounted || umount --lazy /tmp/mounted
no_leftovers
