#!/bin/bash
# iscsid or multipathd stopped and started again, or killed and started again, in the middle of a connect, of a
# disconnect, and while a volume is attached: what is said is so, and afterwards connect and disconnect work.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 D4 D9 B7
# limit: 40m
# soak
. /lab/lib.sh

trouble() { # HOW DAEMON
    case $1 in
    stopped) lab restart "$2" ;;
    killed)
        # shellcheck disable=SC2046 # iscsid is two processes
        kill -KILL $(pidof "$2")
        lab stop "$2"
        lab start "$2"
        ;;
    esac
}

works_again() {
    lab start iscsid
    lab start multipathd
    connect_all 1
    write_pattern "$(field .device_node)" again
    verify_pattern "$(field .device_node)" again
    disconnect 1
    expect_json '.outcome == "clean"'
    no_leftovers
}

for daemon in iscsid multipathd; do
    for how in stopped killed; do
        for stage in path_logging_in path_logged_in device_appeared; do
            step "$daemon is $how in a connect after $stage"
            begin connect 1 --deadline 60s
            tells $stage
            trouble $how $daemon
            ended 60
            truthful
            [ "$code" != 0 ] || disconnect 1
            works_again
        done
        for stage in flushing map_removing device_deleting path_logging_out; do
            step "$daemon is $how in a disconnect after $stage"
            connect_all 1
            begin disconnect 1 --deadline 90s
            tells $stage
            trouble $how $daemon
            ended 90
            truthful
            [ "$code" = 0 ] || disconnect 1
            works_again
        done
        step "$daemon is $how while the volume is attached"
        connect_all 1
        write_pattern "$(field .device_node)" attached
        trouble $how $daemon
        verify_pattern "$(field .device_node)" attached
        disconnect 1
        expect_json '.outcome == "clean"'
        works_again
    done
done
