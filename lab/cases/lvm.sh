#!/bin/bash
# An active logical volume is refused: it is named, and so is what to do; deactivated, all goes. LVM activates it by
# itself when the volume comes back, which is the host's wish: refused again, and with force it goes unless it is open.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D7 D8 D9
# limit: 15m
# soak
. /lab/lib.sh

volume=/dev/mapper/my--vg-data
comes_back() { # OPTION…
    connect 63 "$@"
    wait_until 30 "LVM has activated it" test -b $volume
    udevadm settle
}

for options in "--min-paths 4" --single-path; do
    read -ra options <<<"$options"
    blank 63
    connect 63 "${options[@]}"
    device=$(field .device_node)
    vgcreate --quiet my-vg "$device"
    lvcreate --quiet --yes --wipesignatures n -L 24M -n data my-vg
    make_files $volume
    refused 63 "logical volume my-vg/data"
    expect_json 'any(.error.hints[]; contains("vgchange -an my-vg"))'
    expect_json 'any(.error.causes[]; contains("mounted at /tmp/mounted"))'
    umount /tmp/mounted
    refused 63 "logical volume my-vg/data"
    vgchange --quiet -an my-vg
    clean_disconnect 63

    comes_back "${options[@]}"
    refused 63 "logical volume my-vg/data"
    verify_files $volume
    clean_disconnect 63 --force
    # LVM keeps in /run that it has activated the group, which it did not deactivate itself.
    rm -rf /run/lvm
done

step "force, and it is open: what stays is named"
comes_back --min-paths 4
map=$(field .map)
sleep 1000 <$volume &
user=$!
at_end "kill $user 2>/dev/null || :"
expect_exit 4 disconnect 63 --force
expect_json "any(.error.leftovers[]; contains(\"multipath map $map\"))"
expect_json 'any(.error.leftovers[]; contains("logical volume my-vg/data"))'
expect_json "any(.error.causes[]; contains(\"process $user (sleep)\"))"
expect_host '.sessions == [] and .scsi_devices == [] and .node_records == []'
kill $user
wait $user || :
disconnect 63 --force
no_leftovers
