#!/bin/bash
# Links under /dev that lead to another volume, and left-over ones, mislead neither connect nor disconnect; where the
# map's own node cannot be had, connect says so.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C8 D4 D12
# limit: 150s
. /lab/lib.sh

wwid=3600140500000001b0f14000800000000
connect_all 2
other=$(field .device_node)
write_pattern "$other" other
disk=$(field '.paths[0].device')
map=$(basename "$(readlink "$other")")

plant() { # TARGET LINK…
    local target=$1 link
    shift
    for link in "$@"; do
        ln -sfn "$target" "$link"
        at_end "rm -f $link"
    done
}
plant_all() {
    plant "../../$disk" "/dev/disk/by-path/ip-10.0.1.2:3260-iscsi-$iqn-lun-1" "/dev/disk/by-id/wwn-0x${wwid#3}" "/dev/disk/by-id/scsi-$wwid"
    plant "../../$map" "/dev/disk/by-id/dm-uuid-mpath-$wwid"
    plant "../$map" "/dev/mapper/$wwid"
    plant ../../sdzz /dev/disk/by-path/ip-10.0.{2,3,4}.2:3260-iscsi-"$iqn"-lun-1
    plant ../../dm-99 "/dev/disk/by-id/dm-name-$wwid"
}

step "links of volume 1 lead to volume 2, and to nothing: a disconnect finds nothing by them"
plant_all
disconnect 1
expect_json '.outcome == "unchanged"'
step "nor does connect"
connect_all 1
expect_json ".wwid == \"$wwid\" and ([.paths[].device] | index(\"$disk\")) == null"
node=$(readlink "$(field .device_node)")
[ "$(cat "/sys/block/${node##*/}/dm/uuid")" = "mpath-$wwid" ] || fail "$(field .device_node) leads to $node, which is not the map"
write_pattern "$(field .device_node)" one
step "nor a disconnect of what is there"
plant_all
disconnect 1
expect_json '.outcome == "clean"'
expect_host '(.sessions | length) == 4 and (.maps | length) == 1 and (.scsi_devices | length) == 4'
verify_pattern "$other" other

step "a file stands where the map's node should be"
rm -f "/dev/mapper/$wwid"
echo file >"/dev/mapper/$wwid"
expect_exit 3 connect 1 --deadline 12s
expect_json ".error.leftovers == [] and any(.error.causes[]; contains(\"/dev/mapper/$wwid\"))"
expect_host '(.maps | length) == 1 and (.scsi_devices | length) == 4'
rm -f "/dev/mapper/$wwid"
connect 1
verify_pattern "$(field .device_node)" one
disconnect 1
verify_pattern "$other" other
disconnect 2
