#!/bin/bash
# A connect or disconnect that is killed leaves nothing that the next one cannot finish: connect again works, so does disconnect.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B4
# limit: 240s
. /lab/lib.sh

killed_when() { # VERB CONDITION…
    local verb=$1
    shift
    step "$verb is killed when $*"
    bowline "$verb" "$(connection 1)" --progress plain >/dev/null &
    wait_until 30 "$*" "$@"
    kill -KILL $!
    wait $! || :
}

a_record() { compgen -G "$nodes/*/*" >/dev/null; }
a_session() { compgen -G '/sys/class/iscsi_session/session*' >/dev/null; }
a_map() { compgen -G '/sys/block/dm-*' >/dev/null; }
no_map() { ! a_map; }

for condition in a_record a_session a_map; do
    killed_when connect "$condition"
    connect_all 1
    expect_json '([.paths[] | select(.state == "active")] | length) == 4'
    disconnect 1
    no_leftovers
done

step "and straight to disconnect"
killed_when connect a_session
disconnect 1
no_leftovers

connect_all 1
killed_when disconnect no_map
disconnect 1
expect_json '.outcome == "clean"'

step "killed while it held open-iscsi's lock: nobody waits for it, also no iscsiadm"
lock=/run/lock/iscsi/lock.write
mkdir -p "${lock%/*}"
printf 'bowline 1\n' >"$lock"
connect_all 1
[ ! -e "$lock" ] || fail "the dead lock is still there"
expect_json '.failed_paths == []'
disconnect 1
no_leftovers
