#!/bin/sh
# The laboratory proves itself: four paths and a map by hand, seen by `lab leftovers`, taken away by `lab clean`.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves:
# limit: 90s
set -eu

fail() { echo "smoke: $*" >&2; exit 1; }

lab leftovers || fail "a fresh initiator has leftovers"

connection=$(lab connection 1)
lun=$(echo "$connection" | jq -r .data.target_lun)
echo "$connection" | jq -r '.data | [.target_portals, .target_iqns] | transpose[] | join(" ")' >/tmp/paths

echo "records and logins"
while read -r portal iqn; do
    iscsiadm -m node -T "$iqn" -p "$portal" -o new >/dev/null
    iscsiadm -m node -T "$iqn" -p "$portal" -o update -n node.session.scan -v manual
done </tmp/paths
while read -r portal iqn; do
    iscsiadm -m node -T "$iqn" -p "$portal" --login >/dev/null &
done </tmp/paths
wait

echo "scan for LUN $lun"
for host in /sys/class/iscsi_host/host*; do
    echo "0 0 $lun" >"/sys/class/scsi_host/${host##*/}/scan"
done
udevadm settle

disk=$(lab leftovers | jq -r '.scsi_devices[0].block')
wwid=$(udevadm info --query=property --property=ID_SERIAL --value "/dev/$disk")
[ "$(multipathd add map "$wwid")" = ok ] || fail "multipathd does not make a map of $wwid"
udevadm settle
multipathd show topology
[ "$(multipathd show paths raw format '%d %t' | grep -c ' active')" = "$(wc -l </tmp/paths)" ] || fail "a path is not active"
dd if="/dev/mapper/$wwid" of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null || fail "the map is not readable"

if lab leftovers >/tmp/leftovers; then fail "leftovers sees nothing"; fi
jq -c 'map_values(length)' /tmp/leftovers
jq . /tmp/leftovers >/out/leftovers.json

lab clean
lab leftovers >/tmp/leftovers || { cat /tmp/leftovers; fail "clean left something"; }
echo "smoke: passed"
