#!/bin/bash
# A target whose name has capitals, as those of some arrays have: LIO knows it by no other name, so it goes out as the
# controller writes it. Written otherwise it is still the same attachment, and others' records of it are found. With a
# second target behind the same portals, each session is scanned on its own, and all paths make one map.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C18 C13 C16 D4
# limit: 180s
. /lab/lib.sh

targets=/sys/kernel/config/target/iscsi
capitals=iqn.2000-01.com.example:Array.Target-1
group=$targets/$capitals/tpgt_1
at_end "rmdir $group/np/*; rm -f $group/lun/lun_24/volume; rmdir $group/lun/lun_24 $group $targets/$capitals"
mkdir -p "$group"
for setting in generate_node_acls=1 authentication=0 demo_mode_write_protect=0; do
    echo "${setting#*=}" >"$group/attrib/${setting%=*}"
done
mkdir "$group/lun/lun_24"
ln -s /sys/kernel/config/target/core/fileio_0/vol24 "$group/lun/lun_24/volume"
for portal in 1 2; do
    nsenter --net=/run/netns/target mkdir "$group/np/$(portal $portal)"
done
echo 1 >"$group/enable"
lab connection 24 --portals 1,2 | jq --arg name "$capitals" '.data |= (.target_iqn = $name | .target_iqns |= map($name))' >/tmp/capitals.json
jq '.data |= (.target_iqn |= ascii_downcase | .target_iqns |= map(ascii_downcase))' /tmp/capitals.json >/tmp/folded.json

connect /tmp/capitals.json --min-paths 2
expect_json "(.paths | length) == 2 and all(.paths[]; .iqn == \"$capitals\")"
expect_host "(.sessions | length) == 2 and all(.sessions[]; .iqn == \"$capitals\")"
write_pattern "$(field .device_node)" capitals
connect /tmp/folded.json
expect_json '.changed == false and (.paths | length) == 2'
disconnect /tmp/folded.json
expect_json '.outcome == "clean"'
no_leftovers

step "the same volume by both targets of each portal"
jq -s '.[0].data.target_iqns += .[1].data.target_iqns | .[0].data.target_portals += .[1].data.target_portals
    | .[0].data.target_luns += .[1].data.target_luns | .[0]' <(lab connection 24 --portals 1,2) /tmp/capitals.json >/tmp/both.json
connect_all /tmp/both.json
expect_json '([.paths[] | select(.state == "active") | .portal + .iqn] | unique | length) == 4'
expect_host '(.sessions | length) == 4 and (.maps | length) == 1 and (.scsi_devices | length) == 4'
verify_pattern "$(field .device_node)" capitals
disconnect /tmp/capitals.json
expect_json '.outcome == "clean"'
no_leftovers

step "by an administrator's records, however the controller writes the name"
iqn=$capitals
for portal in 1 2; do
    login_by_hand "$portal"
done
before=$(host .; records)
connect /tmp/folded.json --min-paths 2
expect_host '(.sessions | length) == 2 and (.node_records | length) == 2'
verify_pattern "$(field .device_node)" capitals
disconnect /tmp/capitals.json
expect_json '.outcome == "clean"'
expect_same "the administrator's host" "$before" "$(host .; records)"
lab clean
