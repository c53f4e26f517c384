#!/bin/bash
# A volume that the target lets nobody write to: attached, read, not written, and detached without complaint, as a map and
# as a single disk. A warning says so unless the controller did.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C18 D7
# limit: 15m
# soak
. /lab/lib.sh

connect 31 --min-paths 4
write_pattern "$(field .device_node)" sealed
disconnect 31
lab write-protect on

is_read_only() { [ "$(cat "/sys/class/block/$(basename "$(realpath "$1")")/ro")" = 1 ]; }
use() {
    is_read_only "$(field .device_node)" || fail "$(field .device_node) can be written to"
    verify_pattern "$(field .device_node)" sealed
    if dd if=/dev/zero of="$(field .device_node)" bs=4k count=1 oflag=direct status=none; then
        fail "a write went through"
    fi
}

step "a map of four paths"
connect 31 --min-paths 4
expect_json '(.paths | length) == 4 and all(.paths[]; .state == "active") and any(.warnings[]; contains("read-only"))'
use
connect 31
expect_json '.changed == false'
disconnect 31
expect_json '.outcome == "clean" and .warnings == []'
no_leftovers

step "the controller grants no writing either, so no warning; a user of it is respected as ever"
lab connection 31 | jq '.data.access_mode = "ro"' >/tmp/read-only.json
connect /tmp/read-only.json
expect_json '.warnings == []'
use
exec 8<"$(field .device_node)"
expect_exit 5 disconnect /tmp/read-only.json
exec 8<&-
disconnect /tmp/read-only.json
expect_json '.outcome == "clean" and .warnings == []'
no_leftovers

step "a single disk"
connect /tmp/read-only.json --single-path
expect_json '.map == null'
use
disconnect /tmp/read-only.json
expect_json '.outcome == "clean" and .warnings == []'
no_leftovers

step "writable again, it is what it was"
lab write-protect off
connect 31
write_pattern "$(field .device_node)" opened
disconnect 31
expect_json '.outcome == "clean"'
