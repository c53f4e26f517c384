#!/bin/bash
# A target with another name behind each portal: four sessions to four targets make one map.
# lab: --backend iqn-per-portal --portals 4 --volumes 2
# proves: C3 C13 D4
# limit: 120s
# any target
. /lab/lib.sh

connect_all 1
expect_json '([.paths[] | select(.state == "active") | .iqn] | unique | length) == 4'
expect_host '([.sessions[].iqn] | unique | length) == 4 and (.maps | length) == 1'
write_pattern "$(field .device_node)" targets
verify_pattern "$(field .device_node)" targets

step "a second volume of the same targets uses the same sessions, and they stay for it"
connect_all 2
expect_host '(.sessions | length) == 4 and (.maps | length) == 2 and (.scsi_devices | length) == 8'
second=$(field .device_node)
disconnect 1
expect_host '(.sessions | length) == 4 and (.maps | length) == 1 and (.scsi_devices | length) == 4'
write_pattern "$second" second
verify_pattern "$second" second
disconnect 2
