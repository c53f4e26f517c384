#!/bin/bash
# One portal, half of them or all begin to drop everything at each stage of a connect and of a disconnect: connect gives
# a map of those that live or fails clean by its deadline; disconnect is clean where the data is on the target, and where
# it is not refuses and keeps all.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C3 D2 D7 B1 B7
# limit: 50m
# soak
. /lab/lib.sh

in_connect() { # PORTALS EVENT
    step "portals $1 die in a connect after $2"
    begin connect 1 --deadline 80s
    tells "$2"
    # shellcheck disable=SC2086 # portals are words
    lab drop 100% $1
    ended 80
    # The answer has to be true while they are dead: healed, a login that was left behind might come and be gone again.
    # Only a map that was handed out as its last path died has to wait for them to be read.
    [ "$code$1" != "01 2 3 4" ] || lab heal
    truthful
    lab heal
    [ "$code" = 0 ] || [ "$code$1" = "31 2 3 4" ] || fail "expected a map of the living paths, or a clean host"
    if [ "$code" = 0 ]; then
        write_pattern "$(field .device_node)" "$2"
        disconnect 1
    fi
    no_leftovers
}

# udev is done with the disks, and multipathd, which has not come to them yet, asks the dead ones first.
before_multipathd() {
    local alive
    step "all portals but one die before multipathd comes to their disks"
    begin connect 1 --deadline 80s
    unknown_to_multipathd path_logging_in
    alive=$(jq -rn '[inputs | select(.event == "device_appeared").endpoint.portal][-1] | split(".")[2]' /tmp/events)
    # shellcheck disable=SC2046 # portals are words
    lab drop 100% $(seq 4 | grep -v "$alive")
    lab thaw multipathd
    ended 80
    truthful
    lab heal
    [ "$code" = 0 ] || fail "expected a map of the living path"
    write_pattern "$(field .device_node)" alive
    disconnect 1
    no_leftovers
}

in_disconnect() { # PORTALS EVENT
    local device
    step "portals $1 die in a disconnect after $2"
    connect_all 1
    device=$(field .device_node)
    write_pattern "$device" "$1-$2"
    begin disconnect 1 --flush-timeout 10s --deadline 120s
    tells "$2"
    # shellcheck disable=SC2086
    lab drop 100% $1
    ended 120
    truthful
    [ "$code" = 0 ] || fail "expected it to be clean: what was written was on the target"
    lab heal
    connect 1
    verify_pattern "$(field .device_node)" "$1-$2"
    disconnect 1
    no_leftovers
}

# What was written and is not on the target yet: in the target's cache, as far as this host knows.
with_data() {
    step "all portals die in a disconnect with data in a cache"
    lab cache on 1
    at_end lab cache off 1
    connect_all 1
    write_pattern "$(field .device_node)" cached
    udevadm settle
    # So that the flush is still under way when it is told of.
    lab delay 4000
    begin disconnect 1 --flush-timeout 6s --deadline 60s
    tells flushing
    lab drop 100%
    ended 60
    truthful
    [ "$code" = 5 ] || fail "expected exit code 5, saw $code"
    lab heal
    disconnect 1
    expect_json '.outcome == "clean"'
    no_leftovers
    connect 1
    verify_pattern "$(field .device_node)" cached
    disconnect 1
}

for dead in "1" "1 2 3 4"; do
    for stage in path_logged_in device_appeared path_joined; do
        in_connect "$dead" $stage
    done
    for stage in flushing map_removing device_deleting path_logging_out; do
        in_disconnect "$dead" $stage
    done
done
in_connect "1 2" device_appeared
before_multipathd
in_disconnect "1 2" map_removing
with_data
