#!/bin/bash
# Without multipathd or iscsid a host cannot attach: exit code 6 names which, and nothing is touched.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1
# limit: 180s
. /lab/lib.sh

for daemon in multipathd iscsid; do
    lab stop "$daemon"
    at_end lab start "$daemon"
    expect_exit 6 connect 1
    expect_json ".error.kind == \"host\" and ([.error.message] + .error.causes | any(contains(\"$daemon\")))"
    no_leftovers
    lab start "$daemon"
done

connect 1
disconnect 1
