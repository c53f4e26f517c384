#!/bin/bash
# An open-iscsi that knows no node.session.scan (before 2.0.875) brings in every LUN of a target with each login. That is
# noticed and said; two volumes are attached all the same, and the last one out takes the LUNs nobody asked for along.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C15
# limit: 360s
# soak
. /lab/lib.sh

# iscsiadm as it was then, in the one way that counts: it refuses the setting as 2.0.873 does (usr/idbm.c,
# idbm_verify_param), and its records do not have it. iscsid then scans, as it does without being told otherwise.
{
    printf '#!/bin/bash\nnodes=%s\n' "$nodes"
    cat <<'OLD'
target= portal=
for ((n = 1; n <= $#; n++)); do
    next=$((n + 1))
    case ${!n} in
    -T) target=${!next} ;;
    -p) portal=${!next} ;;
    node.session.scan)
        echo "iscsiadm: Cannot modify node.session.scan. Invalid param name." >&2
        exit 7
        ;;
    esac
done
/usr/sbin/iscsiadm "$@"
code=$?
record=$nodes/$target/${portal%:*},${portal##*:}
[ ! -f "$record" ] || sed -i '/^node.session.scan/d' "$record"
exit $code
OLD
} >/usr/local/sbin/iscsiadm
chmod +x /usr/local/sbin/iscsiadm
at_end rm /usr/local/sbin/iscsiadm

few() { for n in $(seq 10 64); do lab "$1" "$n"; done; }
step "the target exports nine volumes"
few unmap
at_end few map

active='([.paths[] | select(.state == "active")] | length) == 4'
connect_all 1
expect_json "$active"' and any(.warnings[]; test("every LUN"))'
write_pattern "$(field .device_node)" one
all_came() { [ "$(host '.scsi_devices | length')" = 36 ]; }
wait_until 60 "every LUN came in by each session" all_came

step "another volume, whose devices are there already"
connect_all 2
expect_json "$active"
expect_host '(.maps | length) == 2 and (.sessions | length) == 4'
disconnect 2
expect_host '(.maps | length) == 1 and (.sessions | length) == 4'
verify_pattern "$(multipathd show maps raw format %n | head -1 | sed 's|^|/dev/mapper/|')" one

step "the last one out takes them all"
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers

step "one of them that somebody uses stays, with its session and record, and that is said"
connect_all 1
wait_until 60 "every LUN came in by each session" all_came
hctl=$(host '[.scsi_devices[].hctl | select(endswith(":0:0:9"))][0]')
disk=$(host ".scsi_devices[] | select(.hctl == \"$hctl\") | .block")
exec 3<"/dev/$disk"
disconnect 1
field '.warnings[]'
expect_json '.outcome == "clean" and .leftovers == [] and (.warnings | length) == 1'
expect_json ".warnings[0] | test(\"^session [0-9]+ to \") and contains(\"$disk ($hctl), in use: process $$ \")"
expect_host "(.scsi_devices | map(.hctl)) == [\"$hctl\"] and (.sessions | length) == 1 and (.node_records | length) == 1"
expect_host '.maps == [] and .wwids == [] and .attachments == [] and .claims == []'
by_hand=$(field '.warnings[0] | capture("by `(?<command>[^`]*)`").command')

step "nothing of bowline's is left, so it touches that session no more; it is ended as it was said"
exec 3<&-
stays=$(host .)
disconnect 1
expect_json '.outcome == "unchanged"'
expect_same "the host" "$stays" "$(host .)"
bash -ec "$by_hand"
no_leftovers

step "single path, and a connect that fails"
connect 3 --single-path
wait_until 60 "every LUN came in" eval '[ "$(host ".scsi_devices | length")" = 9 ]'
disconnect 3
no_leftovers
lab unmap 4
at_end lab map 4
expect_exit 3 connect 4 --deadline 60s
expect_json '.error.leftovers == []'
no_leftovers
