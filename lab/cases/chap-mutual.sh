#!/bin/bash
# With CHAP in both directions all paths come, and neither secret is anywhere but in open-iscsi's records, which only
# root may read: no argument or environment of a program, no answer, progress, state or log has one.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C18 B8
# limit: 300s
. /lab/lib.sh

# What earlier cases have left there is none of this one's.
find /tmp -type f -delete
lab chap mutual
secrets=$(lab connection 1 | jq -r '.data | .auth_password, .auth_password_in')
[ "$(wc -w <<<"$secrets")" = 2 ] || fail "expected two secrets"

traced() { # VERB [OPTION]…
    lab connection 1 | secretly "$@" || fail "$1: $(cat "$answer" "/tmp/progress-$1")"
}

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

traced disconnect
expect_json '.outcome == "clean"'
shows_no_secret disconnect
nowhere /etc "$nodes"
no_leftovers
