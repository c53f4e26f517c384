#!/bin/bash
# A path that is removed behind bowline's back, its device deleted and its session logged out by hand, costs only
# itself: the volume is usable, connect says so, and disconnect is clean. What is gone altogether, as after a reboot, is brought back
# by a connect, or leaves nothing.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C16 D3 D4 D9 D15
# limit: 300s
# soak
. /lab/lib.sh

connect_all 1
id=$(field .id)
write_pattern "$(field .device_node)" paths
echo 1 >"/sys/class/scsi_device/$(scsi_host_of 1 | tr -dc 0-9):0:0:1/device/delete"
iscsiadm -m node -T "$iqn" -p "$(portal 2)" --logout >/dev/null
three_gone() { [ "$(host '.scsi_devices | length')" = 2 ]; }
wait_until 20 "two devices were gone" three_gone

step "connect says which two are away, and changes nothing"
connect 1
expect_json ".id == \"$id\" and .changed == false"
expect_json '[.paths[] | select(.state == "active") | .portal] == ["10.0.3.2:3260", "10.0.4.2:3260"]'
expect_json '[.failed_paths[].portal] == ["10.0.1.2:3260", "10.0.2.2:3260"] and all(.failed_paths[]; .reason != "")'
field '.failed_paths[] | "\(.portal): \(.reason)"'
step "and whoever it leaves behind brings them back"
map=$(field .map)
wait_until 20 "all four paths were in the map" active 4
wait_until 5 "the finisher ended" no_finisher
verify_pattern "$(field .device_node)" paths
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers

# Refused for a moment while udev has the map open.
removed() { multipathd del map "$map" >/dev/null || [ -z "$(dmsetup info -c --noheadings -o name "$map" 2>/dev/null)" ]; }
take_all_away() {
    connect_all 1
    map=$(field .map)
    wait_until 20 "the map was removed by hand" removed
    for n in 1 2 3 4; do
        echo 1 >"/sys/class/scsi_device/$(scsi_host_of $n | tr -dc 0-9):0:0:1/device/delete"
        iscsiadm -m node -T "$iqn" -p "$(portal $n)" --logout >/dev/null
    done
}

step "all of it taken away by hand: disconnect still leaves nothing"
take_all_away
for n in 1 2 3 4; do iscsiadm -m node -T "$iqn" -p "$(portal $n)" -o delete; done
disconnect 1
no_leftovers

step "all of it gone, as after a reboot: connect brings it back"
take_all_away
connect 1
expect_json '.changed == true'
verify_pattern "$(field .device_node)" paths
disconnect 1
no_leftovers

step "and where it cannot, nothing stays of the sessions that it made"
take_all_away
lab unmap 1
at_end lab map 1
expect_exit 3 connect 1
expect_json '.error.kind == "not_attached" and .error.leftovers == []'
no_leftovers
