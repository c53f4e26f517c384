#!/bin/bash
# A session that somebody else made is used for the volume, and stays when the volume goes.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D4 C16
# limit: 60s
. /lab/lib.sh

login_by_hand 1
before=$(host .)
sid=$(host '.sessions[0].sid')

connect_all 1
expect_json '(.paths | length) == 4'
expect_host "(.sessions | length) == 4 and any(.sessions[]; .sid == $sid)"
disconnect 1
expect_json '.outcome == "clean"'
expect_same "the host" "$before" "$(host .)"

step "single path, by the same session"
connect 1 --single-path
expect_host "[.sessions[].sid] == [$sid]"
disconnect 1
expect_same "the host" "$before" "$(host .)"

lab clean
