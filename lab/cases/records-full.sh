#!/bin/bash
# Where open-iscsi's records cannot be written because their file system is full, connect fails, names the
# database, and leaves nothing.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1
# limit: 90s
. /lab/lib.sh

lab full on
at_end lab full off
for option in "" --single-path; do
    # shellcheck disable=SC2086
    expect_exit 3 connect 1 --deadline 60s $option
    expect_json '.error.kind == "not_attached" and .error.leftovers == []'
    expect_json 'any(.error.causes[]; test("database|record"))'
    no_leftovers
done
lab full off
connect 1
disconnect 1
