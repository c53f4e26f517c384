#!/bin/bash
# One portal, half of them or all begin to drop everything at each stage of a connect and of a disconnect: connect gives
# a map of those that live or fails clean by its deadline; disconnect is clean where the data is on the target.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C3 D2 D7 B1 B7
# limit: 40m
# soak
. /lab/lib.sh

for dead in "1" "1 2" "1 2 3 4"; do
    for stage in path_logged_in device_appeared map_requested path_joined; do
        step "portals $dead die in a connect after $stage"
        begin connect 1 --deadline 80s
        tells $stage
        # shellcheck disable=SC2086 # portals are words
        lab drop 100% $dead
        ended 80
        truthful
        [ "$code" = 0 ] || [ "$dead" = "1 2 3 4" ] || fail "expected a map of the living paths"
        lab heal
        if [ "$code" = 0 ]; then
            write_pattern "$(field .device_node)" "$stage"
            disconnect 1
        fi
        no_leftovers
    done
    for stage in flushing map_removing device_deleting path_logging_out; do
        step "portals $dead die in a disconnect after $stage"
        connect_all 1
        device=$(field .device_node)
        write_pattern "$device" "$dead-$stage"
        begin disconnect 1 --flush-timeout 10s --deadline 120s
        tells $stage
        # shellcheck disable=SC2086
        lab drop 100% $dead
        ended 120
        truthful
        [ "$code" = 0 ] || fail "expected it to be clean: what was written was on the target"
        lab heal
        no_leftovers
        connect 1
        verify_pattern "$(field .device_node)" "$dead-$stage"
        disconnect 1
        no_leftovers
    done
done

step "with data in the target's cache, a flush that does not reach it refuses, and all is as it was"
lab cache on 1
at_end lab cache off 1
connect_all 1
write_pattern "$(field .device_node)" cached
begin disconnect 1 --flush-timeout 5s --deadline 60s
tells flushing
lab drop 100%
ended 60
truthful
[ "$code" = 0 ] || disconnect_healed=1
lab heal
[ -z "${disconnect_healed:-}" ] || disconnect 1
no_leftovers
connect 1
verify_pattern "$(field .device_node)" cached
disconnect 1
