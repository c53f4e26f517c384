#!/bin/bash
# LUNs above 255, as number and as string, in every addressing mode, side by side on the same sessions: each is the volume
# that the target has there. What is no LUN is refused by the name of its key.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C18 C12
# limit: 300s
# soak
. /lab/lib.sh

# The connection of volume N at that LUN; the target has it where Linux shows the LUN.
at() { # N LUN-ON-THE-TARGET LUN-AS-JSON MODE
    lab unmap "$1"
    lab map "$1" --lun "$2"
    at_end "lab unmap $1; lab map $1"
    printf 'volume %s\n' "$1" | dd of="/run/volumes/vol$1" conv=notrunc status=none
    lab connection "$1" --portals 1,2 |
        jq ".data |= (.target_luns = [$3, $3] | .target_lun = $3 | .addressing_mode = $4)" >"/tmp/volume-$1.json"
}

at 41 256 256 null
at 42 16383 '"16383"' '"SAM"'
at 43 $((0x4000 | 300)) '"300"' '"SAM2"'
at 44 $((0x4000 | 5)) 5 '"SAM3-flat"'
at 45 $((0x4000 | 256)) $((0x4000 | 256)) '"transparent"'
at 5 5 5 '"SAM2"'

for volume in 5 44 43 41 42 45; do
    connect $volume --min-paths 2
    lun=$(field '.paths[0].lun')
    expect_json "(.paths | length) == 2 and all(.paths[]; .lun == $lun and .state == \"active\")"
    [ "$(dd if="$(field .device_node)" bs=9 count=1 status=none)" = "volume $volume" ] || fail "LUN $lun is another volume"
done
expect_host '(.sessions | length) == 2 and (.maps | length) == 6 and (.scsi_devices | length) == 12'
expect_host '([.scsi_devices[].hctl | split(":")[3] | tonumber] | unique) == [5, 256, 16383, 16389, 16640, 16684]'
connect 44
expect_json '.changed == false'

for volume in 44 5 41 43 45 42; do
    disconnect $volume
    expect_json '.outcome == "clean"'
done
no_leftovers

step "what is no LUN is refused, and nothing is touched"
no_lun() { # LUN-AS-JSON MODE
    lab connection 41 | jq ".data |= (.target_luns[1] = $1 | .addressing_mode = $2)" >/tmp/wrong.json
    expect_exit 2 connect /tmp/wrong.json
    expect_json '.error.kind == "input" and any(.error.causes[]; contains("target_luns[1]"))'
}
no_lun -1 null
no_lun '"abc"' null
no_lun 1.5 null
no_lun 16384 null
no_lun '"65536"' '"SAM2"'
no_lun 9223372036854775808 '"SAM3-flat"'
no_lun 18446744073709551615 '"transparent"'
