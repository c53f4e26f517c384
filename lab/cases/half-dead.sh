#!/bin/bash
# With two of four portals silent, connect hands out a map of the other two within the grace, names the two, and once
# they are healed they join without another command.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B1 B2 C1 C2 C3 D4 B10
# limit: 120s
# any target
. /lab/lib.sh

lab drop 100% 2 4
progress=json connect 1 2>/tmp/events
expect_json '.map != null and ([.paths[] | select(.state == "active") | .portal] | sort) == ["10.0.1.2:3260", "10.0.3.2:3260"]'
expect_json '([.failed_paths[].portal] | sort) == ["10.0.2.2:3260", "10.0.4.2:3260"]'
map=$(field .map)

step "all logins were begun before any had ended"
expect_events '([.[] | select(.event == "path_logging_in") | .endpoint.portal] | unique | length) == 4'
step "the map was handed out at most 5 s (the longest grace) and a moment after it had a first path"
expect_events '(map(select(.event == "map_ready"))[0].at) - (map(select(.event == "path_joined"))[0].at) < 10'
write_pattern "$(field .device_node)" half

step "healed, they join within 10 s"
lab heal
four() { [ "$(dmsetup status "$map" | grep -oE '[0-9]+:[0-9]+ A ' | wc -l)" = 4 ]; }
wait_until 10 "all four paths were in the map" four
step "and who brought them goes away"
no_finisher() { ! pgrep -f 'bowline finish' >/dev/null; }
wait_until 5 "the finisher ended" no_finisher

verify_pattern "/dev/mapper/$map" half
disconnect 1
expect_json '.outcome == "clean"'
