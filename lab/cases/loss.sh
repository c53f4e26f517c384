#!/bin/bash
# With a fifth of all packets lost, a volume is attached, used and detached without a trace.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C3 D4 D11
# limit: 240s
. /lab/lib.sh

lab drop 20%
connect 1
expect_json '.map != null and ([.paths[] | select(.state == "active")] | length) >= 1'
device=$(field .device_node)
write_pattern "$device" loss
verify_pattern "$device" loss
disconnect 1
expect_json '.outcome == "clean"'
