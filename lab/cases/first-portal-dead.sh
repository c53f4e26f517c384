#!/bin/bash
# Single path with the first portal dead: the next one is used, and nothing is left of the first while the volume is
# attached: no session, no record, no second path. Each that fails is tried as often as with multipath.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C4 C14 B7
# limit: 300s
# any target
. /lab/lib.sh

# How often which portal was tried, as "PORTAL TRIES". 90 of the 120 s are for the four portals one after another, so each has
# time for two logins.
tried() {
    jq -rs 'map(select(.event == "path_logging_in").endpoint.portal) | group_by(.)[] | "\(.[0]) \(length)"' /tmp/events
}
expect_tried() { # PORTAL TRIES…
    local expected
    expected=$(printf '10.0.%s.2:3260 %s\n' "$@")
    [ "$(tried)" = "$expected" ] || fail "expected the logins $expected, saw $(tried)"
}
# A portal's failure is told once, by the last of its tries.
expect_told_once() { # PORTAL…
    local expected
    expected=$(printf '10.0.%s.2:3260\n' "$@" | jq -Rn '[inputs]')
    expect_events "[.[] | select(.event == \"path_failed\") | .endpoint.portal] == $expected"
}

lab drop 100% 1
progress=json connect 1 --single-path 2>/tmp/events
expect_tried 1 2 2 1
expect_told_once 1
expect_json '.map == null and (.paths | length) == 1 and .paths[0].portal == "10.0.2.2:3260"'
expect_host '(.sessions | length) == 1 and (.node_records | length) == 1 and (.scsi_devices | length) == 1'
write_pattern "$(field .device_node)" single
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers

step "a portal that refuses costs no time"
lab heal
lab reject 1 2
progress=json connect 1 --single-path 2>/tmp/events
expect_json '.paths[0].portal == "10.0.3.2:3260"'
expect_tried 1 2 2 2 3 1
expect_told_once 1 2
verify_pattern "$(field .device_node)" single
disconnect 1

step "with multipath, and as much time for each, they are tried as often"
connection 2 --portals 1,2 >/dev/null
progress=json expect_exit 3 connect 2 --deadline 30s 2>/tmp/events
expect_tried 1 2 2 2
no_leftovers
