#!/bin/bash
# udev ends a worker of its own that takes three minutes for a device, and forgets the device's links. A disconnect that had to wait for
# such a worker names those that stay, since they lead to whatever device gets the name next.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D9 D14
# limit: 15m
# soak
. /lab/lib.sh

blank 61
connect_all 61
partition "$(field .device_node)"
clean_disconnect 61
connect_all 61
partition=$(part "$(field .device_node)" 1)
wait_until 30 "partition 1 is there again" test -b "$partition"
udevadm settle
partition=$(readlink -f "$partition")
disk=/dev/$(field '.paths[0].device')

reads() { # DEVICE
    for worker in $(pgrep -f 'udev-worker|systemd-udevd'); do
        ! find "/proc/$worker/fd" -lname "$1" 2>/dev/null | grep -q . || return 0
    done
    return 1
}
stands_still() { # DEVICE
    step "a worker of udev's stands still while it reads $1"
    udevadm trigger -c change "$1"
    wait_until 20 "udev reads $1" reads "$1"
    kill -STOP "$worker"
    at_end "kill -KILL $worker 2>/dev/null || :"
}
# So that there is time to find it.
lab delay 300
# The disk is in the map, and nobody waits for its worker; the partition's keeps the map.
stands_still "$disk"
stands_still "$partition"
lab heal

expect_exit 4 disconnect 61 --deadline 400s
expect_json '.error.leftovers != [] and all(.error.leftovers[]; startswith("link /dev/"))'
jq -r '.error.leftovers[] | split("[ ,]+"; "g")[1]' "$answer" | sort >/tmp/named
host '.dev_links[]' | sort >/tmp/there
for which in '^/dev/disk/by-path/.*-lun-61$' -part1; do
    grep -qe "$which" /tmp/there || fail "expected that udev forgets such links, or this shows nothing: $which"
done
[ -z "$(comm -13 /tmp/named /tmp/there)" ] || fail "not named: $(comm -13 /tmp/named /tmp/there)"

step "the links are removed by hand, and nothing is left"
xargs rm </tmp/named
no_leftovers
disconnect 61
expect_json '.outcome == "unchanged"'
