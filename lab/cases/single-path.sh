#!/bin/bash
# Without multipath the answer is one disk by one portal, flushed and gone after disconnect.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C14 C15 D1 D3
# limit: 120s
# any target
. /lab/lib.sh

connect 2 --single-path
expect_json '.map == null and (.device_node | test("^/dev/sd[a-z]+$")) and (.paths | length) == 1'
expect_host '(.sessions | length) == 1 and (.scsi_devices | length) == 1 and .maps == [] and .wwids == []'
device=$(field .device_node)
expect_host ".scsi_devices[0].block == \"${device#/dev/}\""

step "what is only in the page cache is on the target after disconnect"
pattern two | dd of="$device" bs=64k iflag=fullblock status=none
disconnect 2
expect_json '.outcome == "clean"'
no_leftovers
connect 2 --single-path
verify_pattern "$(field .device_node)" two
disconnect 2
no_leftovers

step "a portal that does not work is tried, cleaned up, and the next one taken"
lab reject 1
connect 2 --single-path
expect_json '(.paths | map(.portal)) == ["10.0.2.2:3260"]'
expect_host '(.node_records | length) == 1 and (.sessions | length) == 1'
disconnect 2
