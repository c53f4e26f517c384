#!/bin/bash
# A connect or a disconnect in whose middle iscsid or multipathd stops answering ends by its deadline and says truly what is left;
# once the daemon goes on, connect works, and disconnect leaves nothing.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 B7
# limit: 30m
# soak
. /lab/lib.sh

# A connect ends by its deadline and says the truth; where the daemon cannot have done its part yet, it fails and names it.
frozen() { # DAEMON WORDS [EVENT]
    # Without an event it stands still from the beginning.
    step "$1 stands still in a connect after ${3:-nothing}"
    [ $# = 3 ] || lab freeze "$1"
    begin connect 1 --deadline 40s
    if [ $# = 3 ]; then
        tells "$3"
        lab freeze "$1"
    fi
    at_end lab thaw "$1"
    ended 40
    truthful
    [ -z "$2" ] || expect_json "[.error.message] + .error.causes | any(test(\"$2\"))"

    step "$1 goes on"
    lab thaw "$1"
    connect_all 1
    write_pattern "$(field .device_node)" thawed
    disconnect 1
    expect_json '.outcome == "clean"'
    no_leftovers
}

# iscsid is asked for the logins: before it was asked, and while some of them are under way and others over.
frozen iscsid 'iscsid|iscsiadm'
frozen iscsid '' path_logged_in
# multipathd is asked whether it lives, at once, and later for the map, which it may have made when the second of these is told.
frozen multipathd 'multipathd does not answer'
frozen multipathd multipath path_logged_in
frozen multipathd '' device_appeared

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
