#!/bin/bash
# With user_friendly_names a map has another name than its volume's identity: it is found, returned, and removed all the same.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C3 C8 C9 D1
# limit: 120s
. /lab/lib.sh

lab multipath user_friendly_names=yes
connect_all 1
expect_json '(.map | test("^mpath[a-z]$")) and .device_node == "/dev/mapper/" + .map and .wwid != .map'
expect_host "[.maps[].uuid] == [\"mpath-$(field .wwid)\"]"
first=$(field .device_node)
write_pattern "$first" friendly
connect_all 2
expect_host '(.maps | length) == 2'
disconnect 2
connect 1
expect_json '.changed == false'
verify_pattern "$first" friendly
disconnect "$first"
expect_json '.outcome == "clean"'
