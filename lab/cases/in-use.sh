#!/bin/bash
# A volume that somebody uses is not detached: the user is named, and everything stays as it was and works.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D7
# limit: 90s
# any target
. /lab/lib.sh

intact() {
    expect_json '.error.kind == "refused" and .error.leftovers == []'
    expect_same "the host" "$before" "$(host 'del(.dev_links)')"
    bowline inspect "$device" --json | jq -e '.attachments[0] | .phase == "attached" and .problems == []' ||
        fail "expected the attachment to be whole, saw $(bowline inspect --json)"
}

connect_all 1
device=$(field .device_node)
write_pattern "$device" one
before=$(host 'del(.dev_links)')

step "a process has it open"
sleep 1000 <"$device" &
user=$!
expect_exit 5 disconnect 1
expect_json "any(.error.causes[]; contains(\"$user\") and contains(\"sleep\"))"
intact
verify_pattern "$device" one
kill "$user"
wait "$user" || :

step "a file system on it is mounted"
mkfs.ext4 -q "$device"
udevadm settle
mkdir -p /tmp/mounted
mount "$device" /tmp/mounted
at_end "umount --lazy /tmp/mounted 2>/dev/null || :"
echo precious >/tmp/mounted/file
expect_exit 5 disconnect 1
expect_json 'any(.error.causes[]; contains("/tmp/mounted"))'
intact
[ "$(cat /tmp/mounted/file)" = precious ] || fail "the file system does not work any more"
umount /tmp/mounted

disconnect 1
expect_json '.outcome == "clean"'
