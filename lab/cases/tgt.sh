#!/bin/bash
# tgt as the target, one name behind all portals: attached, written, detached; a write-back cache, CHAP and a dead portal too.
# lab: --target tgt --backend one-iqn --portals 4 --volumes 4
# proves: C3 C12 C18 D1 D4
# limit: 180s
. /lab/lib.sh

lab cache on 1
connect_all 1
expect_json '([.paths[] | select(.state == "active")] | length) == 4'
step "of its LUNs only the one that is wanted is there, its controller is not"
expect_host '(.maps | length) == 1 and (.scsi_devices | length) == 4 and all(.scsi_devices[].hctl; endswith(":0:0:1"))'
write_pattern "$(field .device_node)" tgt
connect_all 2
expect_host '(.sessions | length) == 4 and (.maps | length) == 2'
disconnect 1
expect_json '.outcome == "clean"'
expect_host '(.sessions | length) == 4 and (.maps | length) == 1'
disconnect 2
no_leftovers

step "what was written is on the target, and CHAP in both directions is known to it"
lab chap mutual
lab connection 1 >/tmp/with-chap.json
expect_exit 3 connect 1
no_leftovers
lab drop 100% 3
connect /tmp/with-chap.json
expect_json '[.failed_paths[].portal] == ["10.0.3.2:3260"]'
verify_pattern "$(field .device_node)" tgt
disconnect /tmp/with-chap.json
expect_json '.outcome == "clean"'
