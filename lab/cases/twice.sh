#!/bin/bash
# Connecting twice gives the same attachment and changes nothing; one disconnect ends it, a second has nothing to do.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C16 D15
# limit: 120s
# any target
. /lab/lib.sh

state() { host 'del(.dev_links)'; records; cat /sys/block/dm-*/dm/name; }

disconnect 1
expect_json '.outcome == "unchanged"'
connect_all 1
expect_json '.changed'
first=$(field 'del(.changed)')
before=$(state)
connect 1
expect_json '.changed == false'
expect_same "the answer" "$first" "$(field 'del(.changed)')"
expect_same "the host" "$before" "$(state)"

disconnect 1
expect_json '.outcome == "clean"'
no_leftovers
disconnect 1
expect_json '.outcome == "unchanged"'
