#!/bin/bash
# With CHAP in both directions all paths come, and neither secret is anywhere but in open-iscsi's records, which only
# root may read: no argument or environment of a program, no answer, progress, state or log has one. Nor has the finisher,
# which brings in a path whose portal was silent.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C18 B8
# limit: 300s
. /lab/lib.sh

# What earlier cases have left there is none of this one's.
find /tmp -type f -delete
listen_to_iscsid
lab chap mutual
secrets=$(lab connection 1 | jq -r '.data | .auth_password, .auth_password_in')
[ "$(wc -w <<<"$secrets")" = 2 ] || fail "expected two secrets"

traced connect --min-paths 4
expect_json '([.paths[] | select(.state == "active")] | length) == 4 and .failed_paths == []'
shows_no_secret connect
write_pattern "$(field .device_node)" mutual

step "they are where open-iscsi looks for them, and only root can read it"
for secret in $secrets; do
    [ "$(grep -rlF "$secret" "$nodes" | wc -l)" = 4 ] || fail "expected each secret in four records"
done
grep -rlF "$secrets" "$nodes" | while read -r record; do
    [ "$(stat -c '%a %U' "$record")" = "600 root" ] || fail "others may read $record: $(stat -c '%a %U' "$record")"
done
bowline inspect --json >/tmp/inspected
bowline inspect >/tmp/inspected-in-words

traced disconnect
expect_json '.outcome == "clean"'
shows_no_secret disconnect
nowhere /etc "$nodes"
no_leftovers

step "nor is one in what is said in words"
spoken=plain traced connect --min-paths 4
grep -q '^attached /dev/mapper/' "$answer" || fail "expected a device, saw $(cat "$answer")"
[ -s /tmp/progress-connect ] || fail "expected to be told of the progress"
shows_no_secret connect
spoken=plain traced disconnect
shows_no_secret disconnect
no_leftovers

# The finisher's programs are in connect's trace, behind its own: connect starts it when it has nothing more to do.
finishers() { sed '1,/execve(.*bowline", "finish"/d' /tmp/trace-connect; }
answered() { jq -e .map "$answer" >/dev/null 2>&1 && ! no_finisher; }

step "portal 4 is silent, and its path is left to the finisher"
lab drop 100% 4
rm "$answer"
traced connect &
connecting=$!
wait_until 60 "connect has answered and left a finisher" answered
expect_json '([.paths[] | select(.state == "active")] | length) == 3'
map=$(field .map)
finisher=$(pgrep -f 'bowline finish')
for what in cmdline environ; do
    tr '\0' '\n' <"/proc/$finisher/$what" >"/tmp/finisher-$what"
    [ -s "/tmp/finisher-$what" ] || fail "expected to see the finisher's $what"
done
tries() { finishers | grep -q 'execve.*iscsiadm.*--login'; }
wait_until 60 "the finisher tries to log in" tries
shows_no_secret connect
no_finisher && fail "expected the finisher to live while it was looked for secrets"

step "it brings the path in when the portal is back"
lab heal
wait_until 60 "all four paths were in the map" active 4
wait_until 60 "the finisher ended" no_finisher
wait $connecting
shows_no_secret connect
traced disconnect
expect_json '.outcome == "clean"'
shows_no_secret disconnect
nowhere /etc "$nodes"
no_leftovers
