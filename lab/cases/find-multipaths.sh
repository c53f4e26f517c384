#!/bin/bash
# Whatever multipath maps by itself (find_multipaths), connect gives a map of all paths, a single path is one path, and
# where the host maps that too, its map is what is returned, with a note, also when the first portal is dead.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C3 C14 D1
# limit: 420s
# soak
. /lab/lib.sh

for mode in yes no greedy smart; do
    step "find_multipaths $mode"
    lab multipath find_multipaths=$mode
    connect_all 1
    expect_json '.map != null and ([.paths[] | select(.state == "active")] | length) == 4'
    expect_host '(.maps | length) == 1 and (.scsi_devices | length) == 4'
    write_pattern "$(field .device_node)" $mode
    disconnect 1
    expect_json '.outcome == "clean"'
    no_leftovers

    connect 1 --single-path
    expect_host '(.sessions | length) == 1 and (.scsi_devices | length) == 1'
    case $mode in
    no | greedy)
        expect_json '.map != null and .device_node == "/dev/mapper/" + .map and any(.warnings[]; contains("multipath"))'
        expect_host '(.maps | length) == 1'
        ;;
    *) expect_json '.map == null and .warnings == []' && expect_host '.maps == []' ;;
    esac
    verify_pattern "$(field .device_node)" $mode
    disconnect 1
    expect_json '.outcome == "clean"'
    no_leftovers

    # What is cleaned up of a portal that is dead is not the map of the next.
    lab reject 1
    connect 1 --single-path
    expect_json '.paths[0].portal == "10.0.2.2:3260"'
    case $mode in
    no | greedy) expect_json '.map != null and .device_node == "/dev/mapper/" + .map' && expect_host '(.maps | length) == 1' ;;
    *) expect_json '.map == null' && expect_host '.maps == []' ;;
    esac
    lab heal
    disconnect 1
    no_leftovers
done
