#!/bin/bash
# A disconnect does not wait for the finisher, and leaves no login behind that was under way: with a portal dead it is
# clean at once, and nothing comes up when the portal is back.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B2 B7 C16 D4
# limit: 120s
. /lab/lib.sh

lab drop 100% 3
connect 1
id=$(field .id)
pgrep -f "bowline finish $id" >/dev/null || fail "expected a finisher for $id"

step "connecting again is answered although it is at work"
connect 1
expect_json ".id == \"$id\" and .changed == false"

step "and so is disconnecting"
began=$SECONDS
disconnect 1
expect_json '.outcome == "clean"'
[ $((SECONDS - began)) -le 30 ] || fail "expected the disconnect to take 30 s at most, saw $((SECONDS - began)) s"
pgrep -f "bowline finish" && fail "expected no finisher"
no_leftovers

step "nothing comes up when the portal is back"
lab heal
sleep 8
no_leftovers
