#!/bin/bash
# A connect that is ended after the host has made something of the volume's content (partitions, a logical volume that
# LVM has activated by itself) undoes that too.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1
# limit: 240s
# soak
. /lab/lib.sh

interrupt() { # VOLUME DEVICE THAT COMES
    local code=0
    step "SIGTERM when $2 is there"
    lab drop 100% 4
    bowline connect "$(connection "$1")" --min-paths 4 --json --progress plain >"$answer" &
    wait_until 60 "$2 is there" test -b "$2"
    kill -TERM $!
    lab heal
    wait $! || code=$?
    [ $code = 3 ] || fail "expected exit code 3, saw $code: $(cat "$answer")"
    expect_json '.error.kind == "not_attached" and .error.leftovers == []'
    no_leftovers
}

blank 61
connect_all 61
device=$(field .device_node)
partition "$device"
clean_disconnect 61
interrupt 61 "$(part "$device" 1)"

blank 63
connect_all 63
device=$(field .device_node)
vgcreate --quiet my-vg "$device"
lvcreate --quiet --yes --wipesignatures n -L 24M -n data my-vg
vgchange --quiet -an my-vg
clean_disconnect 63
interrupt 63 /dev/mapper/my--vg-data
