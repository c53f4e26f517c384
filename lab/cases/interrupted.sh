#!/bin/bash
# A connect that gets SIGTERM, SIGINT or SIGHUP in the middle undoes what it did, and says that it did not attach; a
# disconnect that gets SIGINT says truly what it has done.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 D9
# limit: 180s
. /lab/lib.sh

interrupt() { # SIGNAL CONDITION…: sent as soon as the condition holds
    local signal=$1 code=0
    shift
    step "$signal when $*"
    bowline connect "$(connection 1)" --json --progress plain >"$answer" &
    wait_until 30 "$*" "$@"
    kill "-$signal" $!
    wait $! || code=$?
    [ $code = 3 ] || fail "expected exit code 3, saw $code: $(cat "$answer")"
    expect_json '.error.kind == "not_attached" and .error.leftovers == []'
    no_leftovers
}

a_record() { compgen -G "$nodes/*/*" >/dev/null; }
a_session() { compgen -G '/sys/class/iscsi_session/session*' >/dev/null; }
a_map() { compgen -G '/sys/block/dm-*' >/dev/null; }

interrupt TERM a_record
interrupt INT a_session
interrupt TERM a_map
interrupt HUP a_session

step "INT in a disconnect: what it says is so, and the next one ends it"
connect_all 1
begin disconnect 1
tells flushing
kill -INT "$running" 2>/dev/null || :
ended 30
truthful
disconnect 1
no_leftovers
