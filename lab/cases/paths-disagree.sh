#!/bin/bash
# Two targets that have different volumes at the same LUN: a connection by both of them is of no volume, so nothing of it is attached,
# both identities are said, and nothing of it stays, also where nobody has said which volume is expected.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B3 C1 C6
# limit: 90s
. /lab/lib.sh

wwid() { printf '36001405%08xb0f14000800000000' "$1"; }

# A second target behind the same portals, which has volume 2 where the first has volume 1.
targets=/sys/kernel/config/target/iscsi
other=$iqn:other
group=$targets/$other/tpgt_1
at_end "rmdir $group/np/*; rm -f $group/lun/lun_1/volume; rmdir $group/lun/lun_1 $group $targets/$other"
mkdir -p "$group/lun/lun_1"
for setting in generate_node_acls=1 authentication=0 demo_mode_write_protect=0; do
    echo "${setting#*=}" >"$group/attrib/${setting%=*}"
done
ln -s /sys/kernel/config/target/core/fileio_0/vol2 "$group/lun/lun_1/volume"
for portal in 3 4; do
    nsenter --net=/run/netns/target mkdir "$group/np/$(portal $portal)"
done
echo 1 >"$group/enable"
jq --arg other "$other" '.data.target_iqns[2:4] = [$other, $other]' "$(connection 1)" >/tmp/mixed.json

step "four paths to two volumes"
# All four are looked at, however slow the machine is.
expect_exit 7 connect /tmp/mixed.json --min-paths 4
expect_json '.error.kind == "identity" and .error.leftovers == []'
expect_json "(.error.message + (.error.causes | join(\" \"))) as \$said | all(\"$(wwid 1)\", \"$(wwid 2)\"; . as \$wwid | \$said | contains(\$wwid))"
no_leftovers

step "beside the volume that is attached: it stays what it is, and all goes with it"
connect_all 1
map=$(field .map)
write_pattern "$(field .device_node)" one
connect /tmp/mixed.json
expect_json ".changed == false and .wwid == \"$(wwid 1)\""
wait_until 30 "the finisher ended" no_finisher
active 4 || fail "expected the four paths, saw $(dmsetup status "$map")"
expect_host '.maps | length == 1'
bowline inspect --json | jq -e "any(.attachments[].problems[]; contains(\"another volume, $(wwid 2)\"))" ||
    fail "expected to be told that a path leads to another volume: $(bowline inspect --json)"
verify_pattern "/dev/mapper/$map" one
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers
