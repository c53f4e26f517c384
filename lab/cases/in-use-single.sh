#!/bin/bash
# A disk without a map is not detached either while somebody uses it, and nothing but bowline's own look keeps it from that: a process
# that has it open by another node than its own, and a loop device over it, of which neither a descriptor nor a holder tells.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: D7 D8
# limit: 120s
# any target
. /lab/lib.sh

busy() { # WORD IN ITS CAUSES
    refused 3 "$1"
    verify_pattern "$device" three
}
alias_of() { # DEVICE
    local major minor
    IFS=: read -r major minor <"/sys/class/block/${1#/dev/}/dev"
    mknod /tmp/alias b "$major" "$minor"
}
loop_over() { # DEVICE [OPTION]…
    loop=$(losetup --find --show "${@:2}" "$1")
    at_end "losetup --detach $loop 2>/dev/null || :"
}
# It stays until udev has closed it, too.
unloop() {
    losetup --detach "$loop"
    wait_until 30 "$loop is over nothing" test ! -e "/sys/block/${loop#/dev/}/loop"
}

modprobe loop
connect 3 --single-path
device=$(field .device_node)
write_pattern "$device" three
at_end "rm -f /tmp/alias"
alias_of "$device"

step "a process has it open by another node, and has written what is nowhere but in the page cache"
pattern late >/tmp/late
exec 4<>/tmp/alias
dd if=/tmp/late bs=64k seek=16 conv=notrunc status=none >&4
sleep 1000 <&4 &
user=$!
exec 4>&-
busy "process $user (sleep)"

step "and the node is gone, as that of a container which has ended"
rm /tmp/alias
busy "process $user (sleep)"
kill "$user"
wait "$user" || :

step "a loop device is over it"
loop_over "$device"
busy "loop device ${loop#/dev/} (backing file $device)"
unloop

step "a loop device is over it by another node, and what was written through it is nowhere but in the page cache"
alias_of "$device"
loop_over /tmp/alias --offset 4MiB
pattern loop | dd of="$loop" bs=64k iflag=fullblock conv=notrunc status=none
busy "loop device ${loop#/dev/} (backing file /tmp/alias)"
unloop

step "the node exists in another mount namespace alone"
unshare --mount --propagation private sh -c 'mount -t tmpfs none /mnt && cp -a /tmp/alias /mnt/elsewhere && rm /tmp/alias &&
    losetup --find --show /mnt/elsewhere >/tmp/loop && exec sleep 1000' &
user=$!
at_end "kill $user 2>/dev/null || :"
wait_until 30 "the loop device is there" test -s /tmp/loop
loop=$(cat /tmp/loop)
at_end "losetup --detach $loop 2>/dev/null || :"
[ ! -e /mnt/elsewhere ] || fail "the node is in this namespace, too"
busy "loop device ${loop#/dev/} (backing file /mnt/elsewhere)"
unloop
kill "$user"
wait "$user" || :

step "once nobody uses it any more, it is detached, and all of that is on the target"
clean_disconnect 3
connect 3 --single-path
device=$(field .device_node)
verify_pattern "$device" three
cmp /tmp/late <(dd if="$device" bs=1M skip=1 count=1 iflag=direct status=none) || fail "what the process wrote is lost"
cmp <(pattern loop) <(dd if="$device" bs=1M skip=4 count=1 iflag=direct status=none) || fail "what the loop device wrote is lost"

step "by force it goes from under the loop device, and that is told"
loop_over "$device"
disconnect 3 --force
expect_json ".outcome == \"data_may_be_lost\" and any(.warnings[]; contains(\"loop device ${loop#/dev/}\"))"
unloop
