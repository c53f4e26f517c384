#!/bin/bash
# While a volume is detached whose finisher was just logging in at a dead portal, another one is attached over the same portals, in its own
# time: what is waited for there holds up nobody else. Then the first is attached again, and both are detached.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B1 B6 D4
# limit: 150s
. /lab/lib.sh

lab drop 100% 4
connect 1
begun() { pgrep -f 'iscsiadm .*10\.0\.4\.2.*--login' >/dev/null; }
wait_until 20 "the finisher logs in at portal 4" begun
step "disconnect volume 1, and meanwhile connect volume 2"
bowline disconnect "$(named 1)" --json >/tmp/first.json 2>/dev/null &
first=$!
progress=json connect 2 2>/tmp/events
within_grace
second=$(field .device_node)
write_pattern "$second" second
code=0
wait "$first" || code=$?
[ $code = 0 ] || fail "expected the first volume to be detached, saw $code: $(cat /tmp/first.json)"
expect_host '(.maps | length) == 1 and (.scsi_devices | length) == 3'

connect 1
lab heal
verify_pattern "$second" second
disconnect 1
clean_disconnect 2
