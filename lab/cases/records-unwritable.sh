#!/bin/bash
# Where open-iscsi's records cannot be written, because their file system is read-only or full, connect fails, names the
# database, and leaves nothing; disconnect takes apart what it can, and names the records that stay. That they have a file system of their own alone is no reason to fail.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 D9
# limit: 300s
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
    connect 1
    disconnect 1
done

connect_all 1
write_pattern "$(field .device_node)" readonly
step "a disconnect with the records read-only"
lab readonly on
begin disconnect 1 --deadline 60s
ended 60
[ "$code" = 4 ] || fail "expected exit code 4, saw $code"
expect_json 'all(.error.leftovers[]; startswith("node record")) and (.error.leftovers | length) == 4'
expect_host '.maps == [] and .scsi_devices == [] and .sessions == []'
lab readonly off
disconnect 1
no_leftovers

step "records on a file system of their own, which is full when they go: that takes no room"
mkdir -p "$nodes"
mount -t tmpfs -o size=256k tmpfs "$nodes"
at_end umount "$nodes"
connect_all 1
verify_pattern "$(field .device_node)" readonly
! dd if=/dev/zero of="$nodes/filler" bs=4k 2>/dev/null || fail "the file system is never full"
disconnect 1
expect_json '.outcome == "clean"'
rm "$nodes/filler"
no_leftovers
