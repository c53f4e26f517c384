#!/bin/bash
# A LUN that the target does not export is named in the failure, and the host is as it was.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1
# limit: 90s
. /lab/lib.sh

lab unmap 3
at_end lab map 3
for option in "" --single-path; do
    # shellcheck disable=SC2086
    expect_exit 3 connect 3 $option
    expect_json '.error.kind == "not_attached" and any(.error.causes[]; contains("LUN 3"))'
    no_leftovers
done
