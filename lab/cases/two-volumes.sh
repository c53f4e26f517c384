#!/bin/bash
# Of two volumes on one target one is detached; the other keeps sessions, map and data, and works on.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D4
# limit: 120s
# any target
. /lab/lib.sh

connect_all 1
first=$(field .device_node)
write_pattern "$first" first
connect_all 2
second=$(field .device_node)
write_pattern "$second" second
expect_host '(.sessions | length) == 4 and (.maps | length) == 2 and (.scsi_devices | length) == 8'
sessions=$(host .sessions)
records=$(host .node_records)

disconnect 1
expect_json '.outcome == "clean"'
expect_same "the sessions" "$sessions" "$(host .sessions)"
expect_same "the node records" "$records" "$(host .node_records)"
expect_host '(.maps | length) == 1 and [.scsi_devices[].hctl | endswith(":2")] == [true, true, true, true]'
verify_pattern "$second" second
write_pattern "$second" again
verify_pattern "$second" again

disconnect 2
no_leftovers
connect 1
verify_pattern "$(field .device_node)" first
disconnect 1
