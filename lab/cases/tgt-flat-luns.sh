#!/bin/bash
# tgt takes a LUN above 255 in flat space only, and below it in both methods: found with the addressing mode that fits, not
# exported without it.
# lab: --target tgt --backend one-iqn --portals 4 --volumes 4
# proves: C18
# limit: 240s
# soak
. /lab/lib.sh

lab unmap 3
lab map 3 --lun 300
at_end "lab unmap 3; lab map 3"
lun() { # LUN-AS-JSON MODE
    lab connection 3 | jq ".data |= (.target_luns = [$1, $1, $1, $1] | .target_lun = $1 | .addressing_mode = \"$2\")" >/tmp/lun.json
}

lun 300 SAM2
connect_all /tmp/lun.json
expect_json 'all(.paths[]; .lun == 16684)'
write_pattern "$(field .device_node)" flat
disconnect /tmp/lun.json
expect_json '.outcome == "clean"'

lun '"300"' SAM3-flat
connect_all /tmp/lun.json
verify_pattern "$(field .device_node)" flat
disconnect /tmp/lun.json

step "as it is, the number means another LUN to tgt, and there is none"
lun 300 SAM
expect_exit 3 connect /tmp/lun.json
expect_json 'any(.error.causes[]; contains("LUN 300 is not there"))'
no_leftovers

step "a LUN below 256 in flat space"
jq '.data.addressing_mode = "SAM3-flat"' "$(connection 2)" >/tmp/lun.json
connect_all /tmp/lun.json
expect_json 'all(.paths[]; .lun == 16386)'
disconnect /tmp/lun.json
expect_json '.outcome == "clean"'
