#!/bin/bash
# iscsid or multipathd stopped and started again, or killed and started again, in the middle of a connect, of a
# disconnect, and while a volume is attached: what is said is so, and afterwards connect and disconnect work.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 D4 D9 B7
# limit: 40m
# soak
. /lab/lib.sh

trouble() { # DAEMON stopped|killed
    [ "$2" = stopped ] || wait_until 20 "$1 has died" dies "$1"
    lab restart "$1"
}

# iscsid has the kernel make a session, and then tells it the target's name. One that it does not live to name is nobody's and stays
# (docs/findings.md), so it stands still while that is looked at, and dies only where every session has its name.
dies() { # DAEMON
    lab freeze "$1"
    if grep -qsF '(null)' /sys/class/iscsi_session/*/targetname; then
        lab thaw "$1"
        return 1
    fi
    # shellcheck disable=SC2046 # iscsid is two processes
    kill -KILL $(pidof "$1")
}

works_again() {
    connect_all 1
    write_pattern "$(field .device_node)" again
    verify_pattern "$(field .device_node)" again
    disconnect 1
    expect_json '.outcome == "clean"'
    no_leftovers
}

# A logout that iscsid does not live to finish nobody can finish (docs/findings.md): where iscsid goes in a disconnect, multipathd stands
# still meanwhile, so that the map stays and no logout is begun before iscsid is back.
troubled() { # VERB SECONDS DAEMON HOW EVENT
    step "$3 is $4 in a $1 after $5"
    local before=: after=:
    if [ "$1-$3" = disconnect-iscsid ]; then
        before='lab freeze multipathd' after='lab thaw multipathd'
    fi
    $before
    at_end "$after"
    begin "$1" 1 --deadline "${2}s"
    tells "$5"
    trouble "$3" "$4"
    $after
    ended "$2"
    truthful
}

in_connect() { # DAEMON HOW EVENT
    troubled connect 80 "$@"
    [ "$code" = 3 ] || disconnect 1
    works_again
}

in_disconnect() { # DAEMON HOW EVENT
    connect_all 1
    troubled disconnect 90 "$@"
    [ "$code" = 0 ] || disconnect 1
    works_again
}

while_attached() { # DAEMON HOW
    step "$1 is $2 while the volume is attached"
    connect_all 1
    write_pattern "$(field .device_node)" attached
    trouble "$1" "$2"
    verify_pattern "$(field .device_node)" attached
    disconnect 1
    expect_json '.outcome == "clean"'
    works_again
}

for daemon in iscsid multipathd; do
    for stage in path_logging_in path_logged_in device_appeared; do
        in_connect $daemon killed $stage
    done
    # Not those stages in which iscsid is at work.
    for stage in flushing map_removing $([ $daemon = iscsid ] || echo device_deleting path_logging_out); do
        in_disconnect $daemon killed $stage
    done
    while_attached $daemon killed
    in_connect $daemon stopped path_logged_in
    in_disconnect $daemon stopped flushing
done
