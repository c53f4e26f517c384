#!/bin/bash
# Force: with every path dead and dirty data, disconnect refuses without it, and with it the host is clean, and the
# answer says that data may be lost; with a live user it takes the device away, and names what stays.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D7 D8 D9 D11 K1 B7
# limit: 240s
. /lab/lib.sh

step "a writer hangs in its last close"
connect_all 1
device=$(field .device_node)
# Whoever closes last hangs: that is to be the writer, and not a reader of udev's.
udevadm settle
lab drop 100%
pattern late | dd of="$device" bs=64k iflag=fullblock status=none 2>/dev/null &
writer=$!
wait_until 20 "the writer hangs" hangs "$writer"
expect_exit 5 disconnect 1 --flush-timeout 3s --deadline 40s
expect_json '.error.message | contains("a last close of map")'

step "force gives the data up, and says so"
began=$SECONDS
disconnect 1 --force --flush-timeout 3s --deadline 120s
expect_json '.outcome == "data_may_be_lost" and (.warnings | length) > 0'
echo "forced in $((SECONDS - began)) s"
wait "$writer" || echo "the writer was told that its data is lost"
no_leftovers
lab heal

step "a live user: refused, and with force its device goes from under it"
connect_all 1
device=$(field .device_node)
map=$(field .map)
sleep 1000 <"$device" &
user=$!
at_end "kill $user 2>/dev/null || :"
expect_exit 5 disconnect 1
expect_json "any(.error.causes[]; contains(\"process $user (sleep)\"))"
expect_exit 4 disconnect 1 --force
expect_json ".error.leftovers | length == 1 and (.[0] | contains(\"$map\"))"
expect_host '.sessions == [] and .scsi_devices == [] and .node_records == []'
names_what_is_left

step "with ignore-errors that is a success that names it"
disconnect 1 --force --ignore-errors
expect_json '.outcome == "leftovers" and (.leftovers | length) == 1'
step "and once the user has gone, a plain disconnect finishes it"
kill $user
wait $user || :
disconnect 1
no_leftovers
