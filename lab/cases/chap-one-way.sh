#!/bin/bash
# A target that asks who logs in: with name and secret all paths come, by multipath and by a single path; without them, none.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C18 C1
# limit: 180s
. /lab/lib.sh

connection 1 >/dev/null
lab chap one-way
lab connection 1 >/tmp/with-chap.json

step "the target means it"
expect_exit 3 connect 1
expect_json 'any(.error.causes[]; test("authenticat|authoriz"))'
no_leftovers

connect_all /tmp/with-chap.json
expect_json '([.paths[] | select(.state == "active")] | length) == 4 and .failed_paths == []'
write_pattern "$(field .device_node)" chap
disconnect /tmp/with-chap.json
expect_json '.outcome == "clean"'
no_leftovers

step "single path"
connect /tmp/with-chap.json --single-path
verify_pattern "$(field .device_node)" chap
disconnect /tmp/with-chap.json
expect_json '.outcome == "clean"'
