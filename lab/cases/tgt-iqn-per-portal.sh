#!/bin/bash
# tgt with another name behind each portal: four targets, one identity, one map.
# lab: --target tgt --backend iqn-per-portal --portals 4 --volumes 4
# proves: C3 C13 D4
# limit: 120s
# soak
. /lab/lib.sh

connect_all 1
expect_json '([.paths[] | select(.state == "active") | .iqn] | unique | length) == 4'
expect_host '([.sessions[].iqn] | unique | length) == 4 and (.maps | length) == 1'
first=$(field .device_node)
write_pattern "$first" targets
connect_all 2
expect_host '(.sessions | length) == 4 and (.maps | length) == 2 and ([.maps[].uuid] | unique | length) == 2'
disconnect 2
verify_pattern "$first" targets
disconnect 1
expect_json '.outcome == "clean"'
