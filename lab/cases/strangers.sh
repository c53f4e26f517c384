#!/bin/bash
# What others made stays exactly as they made it: records with values of their own, sessions, devices, maps; a volume that they
# have attached is refused.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D4 B3 C12 C15
# limit: 150s
. /lab/lib.sh

step "an administrator attaches volume 11 by portals 1 and 2, and has a record of portal 3 with values of his own"
for portal in 1 2; do
    login_by_hand "$portal"
    scan_by_hand "$portal" 11
done
record_by_hand 3 node.startup=automatic node.session.scan=auto node.conn[0].timeo.login_timeout=77 \
    node.session.initial_login_retry_max=9
disk=$(host '.scsi_devices[0].block')
map=$(udevadm info --query=property --property=ID_SERIAL --value "/dev/$disk")
[ "$(multipathd add map "$map")" = ok ] || fail "multipathd does not make the administrator's map"
udevadm settle
write_pattern "/dev/mapper/$map" his
state() { host .; records; wwids; dmsetup table "$map"; }
before=$(state)

connect_all 1
expect_json '([.paths[] | select(.state == "active")] | length) == 4'
expect_host '(.sessions | length) == 4 and (.maps | length) == 2'
disconnect 1
expect_json '.outcome == "clean"'
expect_same "the administrator's host" "$before" "$(state)"
verify_pattern "/dev/mapper/$map" his

step "his volume is his, by the portals he uses and by others: his map would take our paths, and could not be given back"
lab connection 11 --portals 2,4 >/tmp/his.json
expect_exit 7 connect /tmp/his.json
expect_json '.error.leftovers == []'
expect_same "the administrator's host" "$before" "$(state)"
lab connection 11 --portals 3,4 >/tmp/his.json
expect_exit 7 connect /tmp/his.json
expect_json ".error.leftovers == [] and (.error.message | contains(\"$map\"))"
expect_same "the administrator's host" "$before" "$(state)"
verify_pattern "/dev/mapper/$map" his

step "also one that he has scanned for and not mapped: the map that is made for us takes his disk in, and is named"
scan_by_hand 1 12
before=$(state)
lab connection 12 --portals 3,4 >/tmp/idle.json
expect_exit 4 connect /tmp/idle.json
expect_json '(.error.leftovers | length) == 2 and any(.error.hints[]; contains("multipath -f"))'
idle=$(field .error.message | sed 's/map \([^ ]*\) .*/\1/')
expect_json ".error.leftovers[0] | startswith(\"multipath map $idle \") and contains(\"disks of others\")"
expect_json '.error.leftovers[1] | startswith("wwids entry ")'
udevadm settle
multipath -f "$idle"
multipath -w "$idle"
udevadm settle
expect_same "the administrator's host" "$before" "$(state)"

lab clean
