#!/bin/bash
# Of a target with 64 LUNs only the one that is wanted ever becomes a device, also for a moment.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C12 C13 C15
# limit: 60s
# any target
. /lab/lib.sh

connect_all 33
expect_host '(.scsi_devices | length) == 4 and all(.scsi_devices[].hctl; endswith(":0:0:33"))'
step "the kernel says nothing of any other LUN, nor of the same one twice"
seen=$(dmesg | sed -n 's/.* scsi \([0-9]*:0:0:[0-9]*\): Direct-Access .*/\1/p' | sort)
expected=$(host '.scsi_devices[].hctl' | sort)
expect_same "what was scanned" "$expected" "$seen"
disconnect 33
