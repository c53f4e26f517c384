#!/bin/bash
# A LUN that now is another volume, while the kernel still has the device of the old one: the stale device is never
# handed out, with an expected identity and without one. Held by somebody, connect refuses.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B3 C1 D4
# limit: 240s
. /lab/lib.sh

wwid() { printf '36001405%08xb0f14000800000000' "$1"; }
disk_of() { basename "$(realpath "/sys/class/scsi_disk/$(scsi_host_of "$1" | tr -dc 0-9):0:0:$2/device/block/"*)"; }

# The kernel's device at LUN 1 says volume 1, and the array has volume 2 there.
reuse() {
    scan_by_hand 1 1
    lab unmap 1
    lab map 2 --lun 1
}
back() {
    lab unmap 2
    lab map 1
}

step "somebody attached volume 1 by hand and left its device behind"
lab unmap 2
at_end "back; lab map 2"
login_by_hand 1
reuse
stale=$(disk_of 1 1)
jq '.data.target_lun = 1 | .data.target_luns = [1, 1, 1, 1]' "$(connection 2)" >/tmp/reused.json

step "while somebody has it open, connect refuses: nobody knows whose data it is"
sleep 1000 <"/dev/$stale" &
user=$!
at_end "kill $user 2>/dev/null || :"
expect_exit 7 connect /tmp/reused.json
expect_json ".error.message | contains(\"$stale\")"
expect_host '(.sessions | length) == 1 and (.scsi_devices | length) == 1 and .maps == [] and .attachments == []'
kill $user
wait $user || :

step "let go, it is replaced: volume 2 at that LUN is attached as volume 2"
connect /tmp/reused.json
expect_json ".wwid == \"$(wwid 2)\""
write_pattern "$(field .device_node)" two
disconnect /tmp/reused.json

step "the same with the identity that the controller expects"
back
reuse
connect /tmp/reused.json --wwid "$(wwid 2)"
expect_json ".wwid == \"$(wwid 2)\""
verify_pattern "$(field .device_node)" two
disconnect /tmp/reused.json

step "and with the one that the stale device still tells: the volume is another, so nothing is handed out"
back
reuse
expect_exit 7 connect /tmp/reused.json --wwid "$(wwid 1)"
expect_json ".error.message + (.error.causes | join(\" \")) | contains(\"$(wwid 2)\")"
expect_host '(.sessions | length) == 1 and .scsi_devices == [] and .maps == [] and .wwids == [] and .attachments == []'

step "of all that, only what was made by hand is left"
iscsiadm -m node -T "$iqn" -p "$(portal 1)" --logout >/dev/null
iscsiadm -m node -T "$iqn" -p "$(portal 1)" -o delete
no_leftovers
