#!/bin/bash
# Where open-iscsi's records cannot be written, because their file system is read-only or full, connect fails, names the
# database, and leaves nothing; disconnect takes apart what it can, and names the records that stay. That they have a file system of their own alone is no reason to fail.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 D9
# limit: 240s
# soak
. /lab/lib.sh

for state in readonly full; do
    lab $state on
    at_end lab $state off
    for option in "" --single-path; do
        # shellcheck disable=SC2086
        expect_exit 3 connect 1 --deadline 60s $option
        expect_json '.error.kind == "not_attached" and .error.leftovers == []'
        expect_json 'any(.error.causes[]; test("database|record"))'
        no_leftovers
    done
    lab $state off
    connect_all 1
    write_pattern "$(field .device_node)" $state
    step "a disconnect with the records $state"
    lab $state on
    begin disconnect 1 --deadline 60s
    ended 60
    expect_host '.maps == [] and .scsi_devices == []'
    [ "$code" = 0 ] || expect_json '.error.kind == "leftovers" and any(.error.leftovers[]; startswith("node record"))'
    lab $state off
    disconnect 1
    no_leftovers
    connect_all 1
    verify_pattern "$(field .device_node)" $state
    disconnect 1
    no_leftovers
done

step "records on a file system of their own"
mkdir -p "$nodes"
mount -t tmpfs tmpfs "$nodes"
at_end umount "$nodes"
connect_all 1
disconnect 1
no_leftovers
