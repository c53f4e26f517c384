#!/bin/bash
# The interface that the connection names: the default, and an administrator's that is bound to a network interface. A session
# by another interface to the same portal is a stranger's and stays. An interface that is not there, or whose transport
# this host has not, is named in the error, and nothing is left.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C18 C1 D4
# limit: 15m
# soak
. /lab/lib.sh

through() { # IFACE VOLUME [OPTION OF lab connection]…
    lab connection "${@:2}" | jq ".data.iface = \"$1\"" >"/tmp/through-$1.json"
    echo "/tmp/through-$1.json"
}
interface() { # NAME [SETTING VALUE]
    iscsiadm -m iface -I "$1" -o new >/dev/null
    at_end "rm -f /etc/iscsi/ifaces/$1"
    [ $# = 1 ] || iscsiadm -m iface -I "$1" -o update -n "$2" -v "$3" >/dev/null
}
interfaces_of_sessions() { cat /sys/class/iscsi_session/*/ifacename | sort | uniq -c | xargs; }

step "the default one, by its name"
connect_all "$(through default 22)"
[ "$(interfaces_of_sessions)" = "4 default" ] || fail "sessions by $(interfaces_of_sessions)"
connect 22
expect_json '.changed == false'
disconnect 22
no_leftovers

step "one bound to a network interface: map, and single path"
interface left iface.net_ifacename i1
connect "$(through left 22 --portals 1)"
[ "$(interfaces_of_sessions)" = "1 left" ] || fail "sessions by $(interfaces_of_sessions)"
write_pattern "$(field .device_node)" left
connect "$(through left 22 --portals 1)"
expect_json '.changed == false'
disconnect "$(through left 22 --portals 1)"
expect_json '.outcome == "clean"'
no_leftovers
connect "$(through left 22 --portals 1)" --single-path
verify_pattern "$(field .device_node)" left
disconnect "$(through left 22 --portals 1)"
no_leftovers

step "an administrator has sessions by an interface of his own to the same portals, with records as discovery makes them"
interface his
for portal in 1 2 3 4; do
    his=(-m node -T "$iqn" -p "$(portal $portal),1" -I his)
    iscsiadm "${his[@]}" -o new >/dev/null
    iscsiadm "${his[@]}" -o update -n node.session.scan -v manual
    iscsiadm "${his[@]}" --login >/dev/null
done
before=$(host .; records)
connect_all 22
expect_json '(.paths | length) == 4 and .failed_paths == []'
[ "$(interfaces_of_sessions)" = "4 default 4 his" ] || fail "sessions by $(interfaces_of_sessions)"
expect_host '(.scsi_devices | length) == 4'
disconnect 22
expect_json '.outcome == "clean"'
expect_same "the administrator's host" "$before" "$(host .; records)"

step "by his interface: his sessions are used, and stay"
connect_all "$(through his 22)"
[ "$(interfaces_of_sessions)" = "4 his" ] || fail "sessions by $(interfaces_of_sessions)"
verify_pattern "$(field .device_node)" left
disconnect "$(through his 22)"
expect_same "the administrator's host" "$before" "$(host .; records)"
lab clean

step "a portal that is taken: open-iscsi keeps one record of a portal whose group tag is unknown"
connect 22 --single-path
before=$(host .; records)
expect_exit 3 connect "$(through his 23 --portals 1)"
expect_json 'any(.error.causes[]; contains("the record of interface default is in its place"))'
expect_same "the host" "$before" "$(host .; records)"
disconnect 22
no_leftovers

step "one that does not exist, and one that needs hardware"
for name in nowhere iser; do
    expect_exit 3 connect "$(through $name 22)" --deadline 60s
    expect_json "any(.error.causes[]; contains(\"$name\"))"
    no_leftovers
done
