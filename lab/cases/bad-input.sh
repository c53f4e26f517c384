#!/bin/bash
# A connection that is wrong is refused by the name of what is wrong in it, and nothing is touched.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C1
# limit: 30s
. /lab/lib.sh

touched() { find /var/lib/bowline /run/bowline /etc/iscsi "$nodes" -printf '%p %T@\n' 2>/dev/null | sort; }
before=$(touched || :)

refused() { # KEY CHANGE-OF-THE-CONNECTION
    jq "$2" "$(connection 1)" >/tmp/wrong.json
    expect_exit 2 connect /tmp/wrong.json
    expect_json ".error.kind == \"input\" and any(.error.causes[]; contains(\"$1\"))"
}

refused target_portals '.data.target_portals[2] = "10.0.1.2:99999"'
refused target_iqns '.data.target_iqns[1] = "iqn.2026-01/../../etc"'
refused target_luns '.data.target_luns = [1, 1]'
refused target_lun '.data.target_lun = -1 | .data.target_luns = null'
head -c 40 "$(connection 1)" >/tmp/cut.json
expect_exit 2 connect /tmp/cut.json
expect_exit 2 disconnect /tmp/cut.json
expect_same "what bowline and open-iscsi keep" "$before" "$(touched || :)"
