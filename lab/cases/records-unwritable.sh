#!/bin/bash
# Where open-iscsi's records cannot be written, because their file system is read-only or full, connect fails, names the
# database, and leaves nothing. That they have a file system of their own alone is no reason to fail.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1
# limit: 120s
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

step "records on a file system of their own"
mkdir -p "$nodes"
mount -t tmpfs tmpfs "$nodes"
at_end umount "$nodes"
connect_all 1
disconnect 1
no_leftovers
