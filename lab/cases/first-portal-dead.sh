#!/bin/bash
# Single path with the first portal dead: the next one is used, and nothing is left of the first while the volume is
# attached: no session, no record, no second path.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C4 C14 B7
# limit: 150s
# any target
. /lab/lib.sh

lab drop 100% 1
connect 1 --single-path
expect_json '.map == null and (.paths | length) == 1 and .paths[0].portal == "10.0.2.2:3260"'
expect_host '(.sessions | length) == 1 and (.node_records | length) == 1 and (.scsi_devices | length) == 1'
write_pattern "$(field .device_node)" single
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers

step "a portal that refuses costs no time"
lab heal
lab reject 1 2
began=$SECONDS
connect 1 --single-path
expect_json '.paths[0].portal == "10.0.3.2:3260"'
verify_pattern "$(field .device_node)" single
disconnect 1
