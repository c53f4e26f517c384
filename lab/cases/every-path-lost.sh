#!/bin/bash
# With every path dead: a volume whose cache cannot reach the target is kept, one with nothing in a cache is detached
# without a trace; no data is lost.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D2 D7 D11 D13 B7
# limit: 180s
. /lab/lib.sh

kept() { host '[.maps, .wwids, .node_records, .attachments, .claims, (.scsi_devices | length), (.sessions | length)]'; }

step "volume 4 has a write-back cache, so a flush has to reach the target"
cache=/sys/kernel/config/target/core/fileio_0/vol4/attrib/emulate_write_cache
echo 1 >$cache
at_end "echo 0 >$cache"
connect_all 4
device=$(field .device_node)
write_pattern "$device" cached
udevadm settle
before=$(kept)
lab drop 100%
began=$SECONDS
expect_exit 5 disconnect 4 --flush-timeout 4s --deadline 30s
[ $((SECONDS - began)) -le 31 ] || fail "expected the end by 30 s, saw it after $((SECONDS - began)) s"
expect_json '.error.kind == "refused" and (.error.message | contains("flush")) and .error.leftovers == []'
expect_same "the host" "$before" "$(kept)"
lab heal
disconnect 4
expect_json '.outcome == "clean"'
no_leftovers

step "volume 1 has none"
connect_all 1
write_pattern "$(field .device_node)" written
udevadm settle
lab drop 100%
disconnect 1 --flush-timeout 4s --deadline 60s
expect_json '.outcome == "clean"'
no_leftovers
lab heal
connect 1
verify_pattern "$(field .device_node)" written
disconnect 1
