#!/bin/bash
# A connect or a disconnect in whose middle iscsid or multipathd stops answering ends by its deadline and says truly what is left;
# once the daemon goes on, connect works, and disconnect leaves nothing.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 B7
# limit: 600s
# soak
. /lab/lib.sh

frozen() { # DAEMON WORDS [EVENT]
    # iscsid is asked for the logins and for nothing before them, so it may stand still from the beginning: frozen at an
    # event, it would have been asked already.
    [ $# = 3 ] || lab freeze "$1"
    begin connect 1 --deadline 40s
    if [ $# = 3 ]; then
        tells "$3"
        lab freeze "$1"
    fi
    at_end lab thaw "$1"
    ended 40
    [ "$code" != 0 ] || fail "expected it to fail"
    truthful
    expect_json "[.error.message] + .error.causes | any(test(\"$2\"))"

    step "$1 goes on"
    lab thaw "$1"
    connect_all 1
    write_pattern "$(field .device_node)" thawed
    disconnect 1
    expect_json '.outcome == "clean"'
    no_leftovers
}

frozen iscsid 'iscsid|iscsiadm'
frozen multipathd multipath path_logged_in

frozen_in_disconnect() { # DAEMON EVENT
    connect_all 1
    write_pattern "$(field .device_node)" "$1-$2"
    step "$1 stands still in a disconnect after $2"
    begin disconnect 1 --deadline 40s
    tells "$2"
    lab freeze "$1"
    at_end lab thaw "$1"
    ended 40
    truthful
    lab thaw "$1"
    disconnect 1
    no_leftovers
    connect_all 1
    verify_pattern "$(field .device_node)" "$1-$2"
    disconnect 1
    no_leftovers
}

for daemon in iscsid multipathd; do
    for stage in flushing map_removing device_deleting path_logging_out; do
        frozen_in_disconnect $daemon $stage
    done
done
