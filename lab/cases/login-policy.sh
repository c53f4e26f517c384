#!/bin/bash
# A login that fails is tried as often with multipath as by a single path, and told once; a LUN that is not there is
# scanned for as often in both, and told once.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C4 C10
# limit: 360s
# soak
. /lab/lib.sh

at_target() { nsenter --net=/run/netns/target iptables -w "$@"; }
# Connections that were opened to a portal; the rule that counts stands before the one that refuses.
opened() { at_target -L INPUT -v -x -n | awk -v portal="t$1" '/flags:/ && $0 ~ portal { print $1; exit }'; }
told() { jq -s "[.[] | select(.event == \"$2\")] | length" "/tmp/events-$1"; }
fails() { # PORTAL VOLUME [OPTION]…: connects by this portal alone, and says how often what was tried
    local portal=$1 volume=$2 code=0
    shift 2
    lab connection "$volume" --portals "$portal" >"/tmp/by-$portal.json"
    bowline connect "/tmp/by-$portal.json" --json --progress json "$@" >"/tmp/answer-$portal" 2>"/tmp/events-$portal" || code=$?
    [ $code = 3 ] || fail "expected exit code 3, saw $code: $(cat "/tmp/answer-$portal")"
}
told_once() { # PORTAL
    [ "$(told "$1" path_failed)" = 1 ] || fail "expected one failure to be told, saw $(cat "/tmp/events-$1")"
    jq -e '.error.causes | length == 1' "/tmp/answer-$1" >/dev/null || fail "expected one cause, saw $(cat "/tmp/answer-$1")"
}

step "two portals refuse every connection: one is the only path of a map, the other a single path"
lab reject 3 4
at_target -I INPUT -i t3 -p tcp --syn
at_target -I INPUT -i t4 -p tcp --syn
fails 3 1 &
multipath=$!
fails 4 2 --single-path
wait $multipath
for portal in 3 4; do
    [ "$(told $portal path_logging_in)" = 8 ] || fail "expected eight logins, saw $(cat /tmp/events-$portal)"
    told_once $portal
done
# How many connections iscsid opens for a login that is refused follows from its clock, and on a busy machine differs from one to the next.
for portal in 3 4; do
    count=$(opened $portal)
    [[ $count -ge 8 && $count -le 24 ]] || fail "expected one to three connections for each of eight logins, saw $count"
done
lab heal
no_leftovers

step "a LUN that is not there"
lab unmap 3
at_end lab map 3
fails 3 3
fails 4 3 --single-path
for portal in 3 4; do
    [ "$(told $portal path_logging_in)" = 1 ] || fail "expected one login, saw $(cat /tmp/events-$portal)"
    [ "$(told $portal path_scanning)" = 3 ] || fail "expected three scans, saw $(cat /tmp/events-$portal)"
    told_once $portal
done
