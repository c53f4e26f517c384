#!/bin/bash
# Partitions are a part of the volume, not users of it: they go with its map. A file system that is mounted from one is,
# and is refused by its mount point; unmounted, all goes, and every file is there the next time.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D7 D14
# limit: 120s
. /lab/lib.sh

blank 61
connect_all 61
device=$(field .device_node)
partition "$device"
make_files "$(part "$device" 1)"
refused 61 "mounted at /tmp/mounted"
[ "$(cat /tmp/mounted/file)" = precious ] || fail "the file system does not work any more"
umount /tmp/mounted
clean_disconnect 61

connect_all 61
# udev makes the links of both at the same time.
for n in 1 2; do wait_until 30 "partition $n is there again" test -b "$(part "$device" $n)"; done
verify_files "$(part "$device" 1)"
clean_disconnect 61
