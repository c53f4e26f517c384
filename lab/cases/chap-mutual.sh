#!/bin/bash
# With CHAP in both directions all paths come, and neither secret is anywhere but in open-iscsi's records, which only
# root may read: no argument or environment of a program, no answer, progress, state or log has one.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C18 B8
# limit: 180s
. /lab/lib.sh

# What earlier cases have left there is none of this one's.
find /tmp -type f -delete
lab chap mutual
secrets=$(lab connection 1 | jq -r '.data | .auth_password, .auth_password_in')
[ "$(wc -w <<<"$secrets")" = 2 ] || fail "expected two secrets"

traced() { # VERB [OPTION]…: the connection comes by standard input, so that its file is not what is found
    step "$1 under strace"
    lab connection 1 | strace -f -v -qq -s 65536 -o "/tmp/trace-$1" -e trace=execve \
        bowline "$@" - --json --progress json >"$answer" 2>"/tmp/progress-$1" || fail "$1: $(cat "$answer" "/tmp/progress-$1")"
    cp "$answer" "/tmp/answer-$1"
}

nowhere() { # PLACE…
    local found
    found=$(grep -rlF "$secrets" "$@" 2>/dev/null || :)
    [ -z "$found" ] || fail "a secret is in $found"
}
searched() { # TRACE
    grep -q 'execve.*iscsiadm' "$1" || fail "the trace shows no program"
    dmesg >/tmp/dmesg
    nowhere /tmp /root /var/lib/bowline /var/log /run/bowline /run/lock /run/udev
}

traced connect --min-paths 4
expect_json '([.paths[] | select(.state == "active")] | length) == 4 and .failed_paths == []'
searched /tmp/trace-connect
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
searched /tmp/trace-disconnect
nowhere /etc "$nodes"
no_leftovers
