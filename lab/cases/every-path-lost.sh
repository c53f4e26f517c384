#!/bin/bash
# With every path dead and data not yet written, disconnect refuses within its limits, keeps everything, and succeeds
# with all the data once the network is back.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D2 D7 D11 B7
# limit: 180s
. /lab/lib.sh

connect 1
device=$(field .device_node)
write_pattern "$device" before
before=$(host '[.maps, .wwids, .node_records, .attachments, .claims]')
lab drop 100%
pattern after | dd of="$device" bs=64k iflag=fullblock status=none &
writer=$!
wait_until 20 "the page cache is dirty" grep -qE '^Dirty: +[0-9]{4,} kB' /proc/meminfo

began=$SECONDS
expect_exit 5 disconnect 1 --flush-timeout 4s --deadline 60s
[ $((SECONDS - began)) -le 61 ] || fail "expected the end by 60 s, saw it after $((SECONDS - began)) s"
expect_json '.error.kind == "refused" and .error.leftovers == []'
expect_same "the host" "$before" "$(host '[.maps, .wwids, .node_records, .attachments, .claims]')"
expect_host '(.scsi_devices | length) == 4 and (.sessions | length) == 4'

lab heal
wait "$writer"
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers
connect 1
verify_pattern "$(field .device_node)" after
disconnect 1
