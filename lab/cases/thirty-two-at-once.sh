#!/bin/bash
# 32 volumes connected at once by 32 processes while one portal is dead, and disconnected at once.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B1 B2 B6 C1 D5
# limit: 900s
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
    jq -e '.map != null and (.paths | length) >= 1' "/tmp/connect.$n" >/dev/null || fail "volume $n: $(cat "/tmp/connect.$n")"
done
echo "32 connects: $((SECONDS - began)) s"
[ "$(cat /tmp/connect.* | jq -r .wwid | sort -u | wc -l)" = 32 ] || fail "expected 32 identities"
for n in $(seq 32); do
    printf 'volume %s' "$n" | dd of="$(jq -r .device_node "/tmp/connect.$n")" bs=512 conv=sync,fsync status=none
done

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
