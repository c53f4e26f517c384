#!/bin/bash
# The same without multipath: the kernel's own partitions of a disk.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D1 D7 D14
# limit: 300s
# soak
. /lab/lib.sh

blank 61
connect 61 --single-path
device=$(field .device_node)
partition "$device"
make_files "$(part "$device" 1)"
refused 61 "mounted at /tmp/mounted"
umount /tmp/mounted
clean_disconnect 61

connect 61 --single-path
device=$(field .device_node)
wait_until 30 "the partitions are there again" test -b "$(part "$device" 2)"
verify_files "$(part "$device" 1)"
clean_disconnect 61
