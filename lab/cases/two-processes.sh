#!/bin/bash
# Two processes connect and disconnect the same volume at the same time, twenty rounds each: every answer is true of the
# moment it was given, and at the end nothing is left.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B6 C16 D15
# limit: 600s
# soak
. /lab/lib.sh

file=$(connection 1)
rounds() { # WHO
    for round in $(seq 20); do
        bowline connect "$file" --json --quiet >"/tmp/$1.connect" || fail "$1 round $round: $(cat "/tmp/$1.connect")"
        jq -e '.map != null and (.paths | length) >= 1' "/tmp/$1.connect" >/dev/null || fail "$1 round $round: $(cat "/tmp/$1.connect")"
        bowline disconnect "$file" --json --quiet >"/tmp/$1.disconnect" || fail "$1 round $round: $(cat "/tmp/$1.disconnect")"
        jq -e '.outcome == "clean" or .outcome == "unchanged"' "/tmp/$1.disconnect" >/dev/null || fail "$1 round $round: $(cat "/tmp/$1.disconnect")"
    done
}
rounds one &
one=$!
rounds two &
two=$!
wait $one
wait $two
no_leftovers
