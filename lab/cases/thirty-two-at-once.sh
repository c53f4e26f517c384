#!/bin/bash
# 32 volumes connected at once by 32 processes while one portal is dead, and disconnected at once: each
# says which of its paths are there and why others are not, and holds what was written to it and nothing else.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B1 B2 B6 C1 D5
# limit: 20m
# soak
# alone
. /lab/lib.sh

lab drop 100% 4
pids=()
began=$SECONDS
for n in $(seq 32); do
    bowline connect "$(connection "$n")" --json --quiet --deadline 400s >"/tmp/connect.$n" 2>&1 &
    pids+=($!)
done
for n in $(seq 32); do
    wait "${pids[$((n - 1))]}" || fail "connect of volume $n: $(cat "/tmp/connect.$n")"
    # Each path is in the map or named with a reason: the dead one always, and on a busy machine perhaps a living one that is late.
    jq -e '.map != null and any(.paths[]; .state == "active")
        and ([.paths[] | select(.state != "not_in_map") | .portal] + [.failed_paths[] | select(.reason != "") | .portal] | unique)
            == ["10.0.1.2:3260", "10.0.2.2:3260", "10.0.3.2:3260", "10.0.4.2:3260"]
        and any(.failed_paths[]; .portal == "10.0.4.2:3260") and all(.paths[]; .portal != "10.0.4.2:3260")' "/tmp/connect.$n" >/dev/null ||
        fail "expected volume $n to be usable and each path in the map or named, portal 4 for sure, saw $(cat "/tmp/connect.$n")"
done
echo "32 connects: $((SECONDS - began)) s"
[ "$(cat /tmp/connect.* | jq -r .wwid | sort -u | wc -l)" = 32 ] || fail "expected 32 identities"
step "the living paths that were late come into each map"
three_each() { [ "$(dmsetup status --target multipath | grep -cE '([0-9]+:[0-9]+ A .*){3}')" = 32 ]; }
wait_until 120 "three paths were in each map" three_each

device() { jq -r .device_node "/tmp/connect.$1"; }
for n in $(seq 32); do
    printf 'volume %s' "$n" | dd of="$(device "$n")" bs=512 conv=sync,fsync status=none
done
# Not before all are written: a write to another's volume would have gone over it.
holds() { # VOLUME WHERE [OPTION OF dd]
    local seen
    seen=$(dd if="$2" bs=512 count=1 ${3:+"$3"} status=none | tr -d '\0')
    [ "$seen" = "volume $1" ] || fail "expected $2 to hold 'volume $1', saw '$seen'"
}
for n in $(seq 32); do holds "$n" "$(device "$n")" iflag=direct; done

pids=()
began=$SECONDS
for n in $(seq 32); do
    bowline disconnect "$(connection "$n")" --json --quiet >"/tmp/disconnect.$n" 2>&1 &
    pids+=($!)
done
for n in $(seq 32); do
    wait "${pids[$((n - 1))]}" || fail "disconnect of volume $n: $(cat "/tmp/disconnect.$n")"
    jq -e '.outcome == "clean"' "/tmp/disconnect.$n" >/dev/null || fail "volume $n: $(cat "/tmp/disconnect.$n")"
done
echo "32 disconnects: $((SECONDS - began)) s"
no_leftovers

step "and on the target each volume is its own"
for n in $(seq 32); do holds "$n" "/run/volumes/vol$n"; done
