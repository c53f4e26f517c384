#!/bin/bash
# A disconnect while iscsid is away takes apart all that needs no iscsid and names what is left; while multipathd is away
# it is clean all the same. A connect in whose middle one of them goes for good ends by its deadline and says truly what is left.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 D4 D9 B7
# limit: 15m
# soak
. /lab/lib.sh

step "iscsid"
connect_all 1
write_pattern "$(field .device_node)" away
lab stop iscsid
at_end lab start iscsid
begin disconnect 1 --deadline 90s
ended 90
[ "$code" = 4 ] || fail "expected exit code 4, saw $code"
expect_json '[.error.leftovers[] | select(startswith("session"))] | length == 4'
names_what_is_left
expect_host '.maps == [] and .scsi_devices == []'
lab start iscsid
disconnect 1
no_leftovers

step "multipathd"
connect_all 1
verify_pattern "$(field .device_node)" away
lab stop multipathd
at_end lab start multipathd
begin disconnect 1 --deadline 90s
ended 90
truthful
lab start multipathd
[ "$code" = 0 ] || disconnect 1
no_leftovers
connect_all 1
disconnect 1

for daemon in iscsid multipathd; do
    for stage in path_logging_in path_logged_in device_appeared; do
        step "$daemon goes in a connect after $stage"
        begin connect 1 --deadline 40s
        tells $stage
        lab stop $daemon
        at_end lab start $daemon
        ended 40
        truthful
        lab start $daemon
        [ "$code" = 3 ] || disconnect 1
        no_leftovers
        connect_all 1
        disconnect 1
        no_leftovers
    done
done
