#!/bin/bash
# With every path dead: a volume whose cache cannot reach the target is kept, or given up with force; one with nothing in a
# cache is detached without a trace; no data is lost.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D2 D7 D8 D11 D13 B7
# limit: 480s
. /lab/lib.sh

step "volume 4 has a write-back cache, so a flush has to reach the target"
cache=/sys/kernel/config/target/core/fileio_0/vol4/attrib/emulate_write_cache
echo 1 >$cache
at_end "echo 0 >$cache"
unreachable() {
    connect_all 4
    write_pattern "$(field .device_node)" "$1"
    udevadm settle
    before=$(kept)
    lab drop 100%
    began=$SECONDS
    progress=json expect_exit 5 disconnect 4 --flush-timeout 4s --deadline 30s 2>/tmp/events
    [ $((SECONDS - began)) -le 31 ] || fail "expected the end by 30 s, saw it after $((SECONDS - began)) s"
    expect_json '.error.kind == "refused" and (.error.message | contains("cannot reach the target")) and .error.leftovers == []'
    # Three tries of 4 s, and before the second a pause of 1 s at least, before the third of 2.
    expect_json 'any(.error.causes[]; contains("tried 3 times"))'
    expect_events '[.[] | select(.event == "flushing") | .at] as [$first, $second, $third, $fourth]
        | $fourth == null and $second - $first >= 5 and $third - $second >= 6'
    expect_same "the host" "$before" "$(kept)"
}
unreachable cached
lab heal
disconnect 4
expect_json '.outcome == "clean"'
no_leftovers
connect 4
verify_pattern "$(field .device_node)" cached
disconnect 4

step "with force it goes all the same, and the answer says what that may cost"
unreachable forced
progress=json disconnect 4 --force --flush-timeout 4s --deadline 60s 2>/tmp/events
expect_events '[.[] | select(.event == "flushing")] | length == 1'
expect_json '.outcome == "data_may_be_lost" and (.warnings | length) > 0'
no_leftovers
lab heal

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
