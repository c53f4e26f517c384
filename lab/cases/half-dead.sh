#!/bin/bash
# With two of four portals silent, connect gives a map of the other two, names the two, and waits for no portal twice.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1 C2 C3 D4 B10
# limit: 120s
. /lab/lib.sh

lab drop 100% 2 4
progress=json connect 1 2>/tmp/events
expect_json '.map != null and ([.paths[] | select(.state == "active") | .portal] | sort) == ["10.0.1.2:3260", "10.0.3.2:3260"]'
expect_json '([.failed_paths[].portal] | sort) == ["10.0.2.2:3260", "10.0.4.2:3260"]'

step "all logins were under way before the first of them failed"
expect_events '([.[] | select(.event == "path_logging_in") | .endpoint.portal] | unique | length) == 4'
expect_events '[.[].event] | rindex("path_logging_in") < index("path_failed")'
step "and the good ones had succeeded"
expect_events '[.[].event] | rindex("path_logged_in") < index("path_failed")'

write_pattern "$(field .device_node)" half
verify_pattern "$(field .device_node)" half
disconnect 1
expect_json '.outcome == "clean"'
