#!/bin/bash
# A volume that is not the expected one is not attached, and nothing of it stays.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B3 C1 C6
# limit: 60s
. /lab/lib.sh

for option in "" --single-path; do
    # shellcheck disable=SC2086
    expect_exit 7 connect 1 --wwid 3600140500000002b0f14000800000000 $option
    expect_json '.error.kind == "identity" and .error.leftovers == []'
    no_leftovers
done

step "the right one is"
connect 1 --wwid 3600140500000001b0f14000800000000
expect_json '.wwid == "3600140500000001b0f14000800000000"'
disconnect 1
