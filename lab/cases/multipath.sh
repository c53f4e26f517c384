#!/bin/bash
# A volume behind four portals becomes a map of four paths; after disconnect nothing of it is left.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C3 C8 C9 C12 C13 C15 D1 D3 D4 D5 D14 B10
# limit: 120s
# any target
. /lab/lib.sh

progress=json connect_all 1 2>/tmp/events
expect_json '.changed and .map != null and .device_node == "/dev/mapper/" + .map'
expect_json '[.paths[] | select(.state == "active") | .portal] | unique | length == 4'
expect_json '.failed_paths == [] and .warnings == []'

step "the map is the one of this volume, and of nothing else"
expect_host '(.scsi_devices | length) == 4 and all(.scsi_devices[].hctl; endswith(":0:0:1"))'
expect_host "[.maps[].uuid] == [\"mpath-$(field .wwid)\"] and .wwids == [\"$(field .wwid)\"]"
expect_host '(.sessions | length) == 4 and (.attachments | length) == 1'
for session in /sys/class/iscsi_session/*; do
    sid=${session##*session}
    iscsiadm -m session -r "$sid" -o show | grep -q 'node.session.scan = manual' || fail "session $sid does not scan by hand"
done

step "every path was told of while it came"
for event in path_logging_in path_logged_in device_appeared path_joined; do
    expect_events "([.[] | select(.event == \"$event\") | .endpoint.portal] | unique | length) == 4"
done

device=$(field .device_node)
disks=$(field '[.paths[] | {key: .portal, value: .device}] | from_entries | tojson')
write_pattern "$device" one
verify_pattern "$device" one
progress=json disconnect 1 2>/tmp/events
expect_json '.outcome == "clean" and .leftovers == []'
no_leftovers

step "the disks went side by side, and no session before its disk was gone"
when() { echo "([.[] | select(.event == \"$1\") | .at])"; }
expect_events "$(when device_deleting) as \$begun | $(when device_gone) as \$gone |
    (\$begun | length) == 4 and (\$gone | length) == 4 and (\$begun | max) <= (\$gone | min)"
expect_events ". as \$all | [.[] | select(.event == \"path_logging_out\")] | length == 4 and all(.[]; . as \$out |
    $disks[.endpoint.portal] as \$disk | any(\$all[]; .event == \"device_gone\" and .device == \$disk and .at <= \$out.at))"

step "what was written is on the target"
connect 1
verify_pattern "$(field .device_node)" one
disconnect 1

step "one path alone makes a map as well"
lab connection 1 --portals 2 >/tmp/one.json
connect /tmp/one.json
expect_json '.map != null and ([.paths[] | select(.state == "active") | .portal]) == ["10.0.2.2:3260"]'
verify_pattern "$(field .device_node)" one
disconnect /tmp/one.json
no_leftovers
