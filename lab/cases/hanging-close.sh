#!/bin/bash
# With every path dead and a writer hanging in its last close, disconnect refuses within its limits and keeps
# everything; once the network is back it succeeds, and all that was written is on the target.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D2 D7 D11 D13 B7
# limit: 180s
. /lab/lib.sh

connect_all 1
device=$(field .device_node)
before=$(kept)
# Whoever closes last hangs: that is to be the writer, and not a reader of udev's.
udevadm settle
lab drop 100%
pattern late | dd of="$device" bs=64k iflag=fullblock status=none &
writer=$!
wait_until 20 "the writer hangs" hangs "$writer"

began=$SECONDS
expect_exit 5 disconnect 1 --flush-timeout 4s --deadline 30s
[ $((SECONDS - began)) -le 31 ] || fail "expected the end by 30 s, saw it after $((SECONDS - began)) s"
expect_json '.error.kind == "refused" and .error.leftovers == [] and (.error.message | contains("a last close of map"))'
expect_json '[.error.message] + .error.causes | any(contains("bowline-helper")) | not'
expect_same "the host" "$before" "$(kept)"

lab heal
wait "$writer"
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers
connect 1
verify_pattern "$(field .device_node)" late
disconnect 1
