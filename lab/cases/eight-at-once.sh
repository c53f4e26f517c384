#!/bin/bash
# Eight processes attach eight volumes of one target at once, each with all paths and its own data, and detach them at once.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B6 D4 D5
# limit: 300s
. /lab/lib.sh

at_once() { # COMMAND, with $volume and an $answer of its own
    local pids=() pid failed=0
    for volume in {1..8}; do
        (answer=/tmp/answer-$volume.json && "$@" "$volume") >"/tmp/said-$volume" 2>&1 &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=$((failed + 1)); done
    [ $failed = 0 ] || { tail -n 30 /tmp/said-*; fail "$failed of 8 failed to $1"; }
}
attach() {
    connect_all "$1" --deadline 250s
    expect_json '([.paths[] | select(.state == "active")] | length) == 4 and .failed_paths == []'
    write_pattern "$(field .device_node)" "$1"
}

step "connect 1 to 8"
at_once attach
expect_host '(.sessions | length) == 4 and (.maps | length) == 8 and (.scsi_devices | length) == 32'
for volume in {1..8}; do
    verify_pattern "$(jq -r .device_node "/tmp/answer-$volume.json")" "$volume"
done

step "disconnect 1 to 8"
at_once disconnect
no_leftovers
