#!/bin/bash
# Where multipath's configuration excludes the volume, connect fails and says why; where the caller allows it, one
# device is returned with a warning that says the same and what it means.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C11 C1 D1 D3
# limit: 120s
. /lab/lib.sh

at_end "rm -f /etc/multipath.conf; lab restart multipathd"
cat >/etc/multipath.conf <<END
blacklist {
    device {
        vendor "LIO-ORG"
        product ".*"
    }
}
END
lab restart multipathd

expect_exit 3 connect 1
expect_json '.error.kind == "not_attached" and any(.error.causes[]; contains("blacklisted")) and .error.leftovers == []'
no_leftovers

connect 1 --allow-single-device
expect_json '.map == null and .device_node == "/dev/" + ([.paths[] | select(.state == "active")][0].device)'
expect_json '(.warnings | length) == 1 and (.warnings[0] | contains("blacklisted") and contains("performance and safety"))'
expect_host '.maps == []'
write_pattern "$(field .device_node)" alone
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers

step "once it is not excluded any more, the same connect gives a map"
rm /etc/multipath.conf
lab restart multipathd
connect_all 1 --allow-single-device
expect_json '.map != null and .warnings == []'
verify_pattern "$(field .device_node)" alone
disconnect 1
