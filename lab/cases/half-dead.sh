#!/bin/bash
# With one of four portals silent, and with two, connect hands out a map of the others within the grace, names the silent
# ones, and once they are healed they join without another command.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B1 B2 C1 C2 C3 D4 B10
# limit: 300s
# any target
. /lab/lib.sh

# As JSON: where the portals with these numbers listen.
portals() { printf '10.0.%s.2:3260\n' "$@" | jq -Rn '[inputs]'; }

dead_portals() {
    local alive=$1 dead=$2
    step "portals $dead are silent"
    # shellcheck disable=SC2086 # several numbers
    lab drop 100% $dead
    progress=json connect 1 2>/tmp/events
    # shellcheck disable=SC2086
    expect_json ".map != null and ([.paths[] | select(.state == \"active\") | .portal] | sort) == $(portals $alive)"
    # shellcheck disable=SC2086
    expect_json "([.failed_paths[].portal] | sort) == $(portals $dead)"
    # Of each why: it did not answer a login, nothing else.
    expect_json 'all(.failed_paths[]; . as $path | .reason | contains("log in to \($path.iqn) at \($path.portal)"))'
    map=$(field .map)

    step "all logins were begun before any had ended"
    expect_events '([.[] | select(.event == "path_logging_in")] | group_by(.endpoint.portal) | map(map(.at) | min)) as $begun
        | ($begun | length) == 4 and ($begun | max) <= ([.[] | select(.event == "path_logged_in") | .at] | min)'
    step "the map was handed out a grace after it was read from, and no sooner"
    within_grace
    jq -rs '[.[] | select(.event == "device_read" or .event == "map_ready") | "\(.event) \(.at)"] | join(", ")' /tmp/events
    write_pattern "$(field .device_node)" "$dead"

    step "healed, they join within 10 s"
    lab heal
    wait_until 10 "all four paths were in the map" active 4
    step "and who brought them goes away"
    wait_until 5 "the finisher ended" no_finisher

    verify_pattern "/dev/mapper/$map" "$dead"
    disconnect 1
    expect_json '.outcome == "clean"'
    no_leftovers
}

dead_portals "1 2 4" "3"
dead_portals "1 3" "2 4"
