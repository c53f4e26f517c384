#!/bin/bash
# Portals with IPv6 addresses: all paths make one map, a dead one is named and costs only itself, and all goes again.
# lab: --family ipv6 --backend one-iqn --portals 4 --volumes 2
# proves: C18 C3 B1 B2
# limit: 180s
. /lab/lib.sh

connect_all 1
expect_json '([.paths[] | select(.state == "active") | .portal] | sort)
    == ["[fd00:0:0:1::2]:3260", "[fd00:0:0:2::2]:3260", "[fd00:0:0:3::2]:3260", "[fd00:0:0:4::2]:3260"]'
expect_host '([.sessions[].portal] | unique | length) == 4 and all(.sessions[].portal; startswith("[fd00:"))'
write_pattern "$(field .device_node)" six
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers

step "other spellings of an address are the same portal"
lab connection 1 | jq '.data.target_portals |= map(sub("fd00"; "FD00") | sub("::2]"; ":0:0:0:2]"))' >/tmp/spelt.json
connect_all /tmp/spelt.json
expect_json '([.paths[].portal] | unique | length) == 4'
step "and so is one without its port, or with the portal group"
lab connection 1 | jq '.data.target_portals |= [.[0][:-5], .[1] + ",1", .[2], .[3] + ",1"]' >/tmp/short.json
connect /tmp/short.json
expect_json '.changed == false and ([.paths[].portal] | unique | length) == 4'
connect 1
expect_json '.changed == false'
verify_pattern "$(field .device_node)" six
disconnect /tmp/spelt.json
no_leftovers

step "one portal silent, one that refuses"
lab drop 100% 2
lab reject 4
connect 1
expect_json '([.failed_paths[].portal] | sort) == ["[fd00:0:0:2::2]:3260", "[fd00:0:0:4::2]:3260"]'
verify_pattern "$(field .device_node)" six
lab heal
map=$(field .map)
wait_until 10 "all four paths were in the map" active 4
disconnect 1
expect_json '.outcome == "clean"'

step "single path"
connect 1 --single-path
expect_json '.map == null and (.paths | map(.portal)) == ["[fd00:0:0:1::2]:3260"]'
verify_pattern "$(field .device_node)" six
disconnect 1
