#!/bin/bash
# A file system directly on the volume, its files not synced: unmounted and disconnected, all of it is there next time.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D1 D7
# limit: 240s
# soak
. /lab/lib.sh

for options in "--min-paths 4" --single-path; do
    read -ra options <<<"$options"
    blank 62
    connect 62 "${options[@]}"
    make_files "$(field .device_node)"
    umount /tmp/mounted
    clean_disconnect 62
    connect 62 "${options[@]}"
    verify_files "$(field .device_node)"
    clean_disconnect 62
done
