#!/bin/bash
# A target that asks who logs in: with name and secret all paths come, by multipath and by a single path; without them, none.
# The secret is nowhere but in open-iscsi's records.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C18 C1 B8
# limit: 180s
. /lab/lib.sh

# What earlier cases have left there is none of this one's.
find /tmp -type f -delete
listen_to_iscsid
connection 1 >/dev/null
lab chap one-way
secrets=$(lab connection 1 | jq -r .data.auth_password)
[ "$(wc -w <<<"$secrets")" = 1 ] || fail "expected one secret"

detached() {
    traced disconnect
    shows_no_secret disconnect
    expect_json '.outcome == "clean"'
    nowhere /etc "$nodes"
    no_leftovers
}

step "the target means it"
expect_exit 3 connect 1
expect_json 'any(.error.causes[]; test("authenticat|authoriz"))'
no_leftovers

traced connect --min-paths 4
shows_no_secret connect
expect_json '([.paths[] | select(.state == "active")] | length) == 4 and .failed_paths == []'
[ "$(grep -rlF "$secrets" "$nodes" | wc -l)" = 4 ] || fail "expected the secret in four records"
write_pattern "$(field .device_node)" chap
detached

step "single path"
traced connect --single-path
shows_no_secret connect
[ "$(grep -rlF "$secrets" "$nodes" | wc -l)" = 1 ] || fail "expected the secret in one record"
verify_pattern "$(field .device_node)" chap
detached
