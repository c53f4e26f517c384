#!/bin/bash
# Looking for what is absent is no error to anyone, and of a removal that has to be tried again and again only the last
# failure is told, or none when it works in the end.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C10 D7 D10 D15
# limit: 150s
. /lab/lib.sh

step "disconnect what is not there: nobody says anything"
log=$(cat /var/log/multipathd.log)
said=$(bowline disconnect "$(connection 1)" --json --progress plain 2>&1 >"$answer")
[ -z "$said" ] || fail "expected nothing to be said, saw $said"
expect_json '.outcome == "unchanged" and .warnings == []'
expect_same "multipathd's log" "$log" "$(cat /var/log/multipathd.log)"

step "connect and disconnect: only what is done is told, and the kernel has no error"
progress=json connect_all 1 2>/tmp/events
expect_events 'all(.[]; .event | IN("path_preparing", "path_logging_in", "path_logged_in", "path_scanning", "device_appeared", "map_requested", "path_joined", "device_read", "map_ready"))'
progress=json disconnect 1 2>/tmp/events
expect_json '.outcome == "clean" and .warnings == []'
detached='all(.[]; .event | IN("flushing", "flushed", "map_removing", "map_removed", "device_deleting", "device_gone", "path_logging_out", "path_gone"))'
expect_events "$detached"
# The target is in the same kernel: Linux 6.12 asks it for a page that it does not have, and it complains.
said=$(dmesg --level emerg,alert,crit,err | grep -v 'MODE SENSE: unimplemented' || :)
[ -z "$said" ] || fail "expected no error of the kernel, saw $said"

step "something holds the map that nothing shows: the kernel's loop device, over a node that is gone"
connect_all 1
device=$(field .device_node)
modprobe loop
mknod /tmp/gone b $((0x$(stat -Lc %t "$device"))) $((0x$(stat -Lc %T "$device")))
loop=$(losetup --find --show /tmp/gone)
rm /tmp/gone
at_end "losetup -d $loop 2>/dev/null || :"
expect_exit 5 disconnect 1 --deadline 12s
expect_json '[.error.causes[] | select(contains("multipathd says"))] | length == 1'
expect_host '(.maps | length) == 1 and (.sessions | length) == 4'

step "it lets go while the removal is tried"
bowline disconnect "$(connection 1)" --json --progress json >"$answer" 2>/tmp/events &
disconnecting=$!
tried_again() { [ "$(grep -c map_removing /tmp/events)" -ge 3 ]; }
wait_until 20 "the removal was tried again" tried_again
losetup -d "$loop"
wait $disconnecting || fail "disconnect: $(jq -c . "$answer")"
expect_json '.outcome == "clean" and .warnings == []'
expect_events "$detached"
