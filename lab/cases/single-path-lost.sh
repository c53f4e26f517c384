#!/bin/bash
# The one path of a single device is dead: with data in the target's cache, and with a writer hanging in its last close, a disconnect
# refuses within its limits and keeps everything; healed, a plain one is clean and the data is there; with force it goes, and the
# answer says what that may cost.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D2 D7 D8 D11 D13 C14 B7
# limit: 600s
# soak
. /lab/lib.sh

lab cache on 1
at_end lab cache off 1

cached() {
    step "what was written is in the target's cache, and the path is dead"
    connect 1 --single-path
    write_pattern "$(field .device_node)" cached
    udevadm settle
    before=$(kept)
    lab drop 100%
}
late() {
    step "a writer hangs in its last close"
    connect 1 --single-path
    before=$(kept)
    # Whoever closes last hangs: that is to be the writer, and not a reader of udev's.
    udevadm settle
    lab drop 100%
    pattern late | dd of="$(field .device_node)" bs=64k iflag=fullblock status=none 2>/dev/null &
    writer=$!
    wait_until 20 "the writer hangs" hangs "$writer"
}
refuses() {
    timed expect_exit 5 disconnect 1 --flush-timeout 4s --deadline 30s
    [ "$took" -le 31000 ] || fail "expected the end by 30 s, saw it after $took ms"
    # Of a disk the kernel does not tell how often it is open, so a last close gets the same sentence (docs/findings.md).
    expect_json '.error.kind == "refused" and .error.leftovers == [] and (.error.message | contains("cannot reach the target"))'
    expect_same "the host" "$before" "$(kept)"
}

for data in cached late; do
    $data
    refuses
    lab heal
    [ $data = cached ] || wait "$writer"
    clean_disconnect 1
    connect 1 --single-path
    verify_pattern "$(field .device_node)" $data
    disconnect 1

    $data
    refuses
    timed disconnect 1 --force --flush-timeout 4s --deadline 200s
    echo "forced in $took ms"
    expect_json '.outcome == "data_may_be_lost" and (.warnings | length) > 0'
    [ $data = cached ] || wait "$writer" || echo "the writer was told that its data is lost"
    no_leftovers
    lab heal
done
