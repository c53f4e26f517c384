#!/bin/bash
# A connection's portals as people and controllers write them: with port, without, with a group tag, twice, the second time
# with the target's name in another letter case. One session for each endpoint, four paths. A host name is refused.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C18 C1
# limit: 180s
. /lab/lib.sh

step "four endpoints, written in eight ways"
lab connection 21 | jq --arg shouted "${iqn^^}" '.data |= . + {
    target_portal: "10.0.1.2:3260,1", target_iqn: $shouted, target_lun: "21", target_luns: null,
    target_portals: ["10.0.1.2", "10.0.2.2:3260,1", "10.0.3.2,1", "10.0.4.2:3260", "10.0.1.2:3260", "10.0.2.2", "10.0.4.2:3260,1", "10.0.3.2"],
    target_iqns: (.target_iqns + [$shouted, $shouted, $shouted, $shouted])}' >/tmp/written.json
connect_all /tmp/written.json
expect_json '(.paths | length) == 4 and ([.paths[].portal] | unique | length) == 4 and .failed_paths == []'
expect_host '(.sessions | length) == 4 and (.node_records | length) == 4 and (.scsi_devices | length) == 4'
write_pattern "$(field .device_node)" written

step "it is the same attachment, however it is written"
connect 21
expect_json '.changed == false'
jq ".data |= (.target_iqns |= map(ascii_upcase) | .target_portals |= map(split(\":\")[0]))" "$(connection 21)" >/tmp/shouted.json
connect /tmp/shouted.json
expect_json '.changed == false'
expect_host '(.sessions | length) == 4 and (.node_records | length) == 4'
disconnect /tmp/shouted.json
expect_json '.outcome == "clean"'
no_leftovers

step "one endpoint, without lists and without a port"
connect <(lab connection 21 --single | jq '.data.target_portal = "10.0.3.2"')
expect_json '(.paths | map(.portal)) == ["10.0.3.2:3260"]'
connect <(lab connection 21 --single --portals 3)
expect_json '.changed == false'
disconnect 21
no_leftovers

step "a host name is refused, and named"
lab connection 21 | jq '.data.target_portals[3] = "array.example:3260"' >/tmp/host-name.json
expect_exit 2 connect /tmp/host-name.json
expect_json '.error.kind == "input" and any(.error.causes[]; contains("target_portals[3]") and contains("array.example"))'
no_leftovers
