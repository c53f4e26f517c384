#!/bin/bash
# The first portal takes the login and answers no SCSI command, the device of the second goes offline as it appears: the
# others tell the identity and make the map, and nothing of the two stays.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B2 C1 C3 C5 C7 D2 D3
# limit: 240s
. /lab/lib.sh

step "portal 1 is silent for whoever sends a SCSI command"
# Of an iSCSI PDU the first byte has the opcode; the payload begins after the headers of IP and TCP.
nsenter --net=/run/netns/target iptables -w -A INPUT -i t1 -p tcp \
    -m u32 --u32 '0>>22&0x3C@12>>26&0x3C@0>>24&0x3F=1' -j DROP
connect 1 --min-paths 3
expect_json '.map != null and ([.paths[] | select(.state == "active") | .portal] | sort) == ["10.0.2.2:3260", "10.0.3.2:3260", "10.0.4.2:3260"]'
expect_json '[.failed_paths[].portal] == ["10.0.1.2:3260"]'
expect_host '(.sessions | length) == 4'
write_pattern "$(field .device_node)" others
disconnect 1
expect_json '.outcome == "clean"'
no_leftovers
lab heal

step "the device of portal 2 goes offline as soon as it is there"
mkfifo /tmp/told
bowline connect "$(connection 1)" --json --progress json --min-paths 3 >"$answer" 2>/tmp/told &
connecting=$!
offline=
while read -r line; do
    if [ -z "$offline" ]; then
        offline=$(jq -r 'select(.event == "device_appeared" and .endpoint.portal == "10.0.2.2:3260") | .device' <<<"$line")
        [ -z "$offline" ] || echo offline >"/sys/block/$offline/device/state"
    fi
done </tmp/told
wait $connecting || fail "connect: $(jq -c . "$answer")"
[ -n "$offline" ] || fail "no device of portal 2 was told of"
[ "$(cat "/sys/block/$offline/device/state")" = offline ] || fail "$offline is not offline"
expect_json '.map != null'
map=$(field .map)
wait_until 20 "the map used the other three" active 3
verify_pattern "$(field .device_node)" others
disconnect 1
expect_json '.outcome == "clean" and .warnings == []'

step "it goes offline when multipathd knows it and the map does not have it: it keeps no other out, and joins when it is back"
begin connect 1 --min-paths 3
unknown_to_multipathd path_preparing
offline=$(jq -r 'select(.event == "device_appeared" and .endpoint.portal == "10.0.2.2:3260") | .device' /tmp/events)
# Who has it for himself alone keeps it out of every map: device-mapper would have it so, too.
perl -MFcntl -e 'sysopen F, $ARGV[0], O_RDONLY | O_EXCL or die "$ARGV[0]: $!\n"; print "held\n"; close STDOUT; sleep 600' "/dev/$offline" >/tmp/held &
holder=$!
at_end "kill $holder 2>/dev/null || :"
wait_until 10 "$offline was held" grep -q held /tmp/held
lab thaw multipathd
wait_until 30 "multipathd knew $offline" eval "multipathd show paths raw format %d | grep -qx $offline"
echo offline >"/sys/block/$offline/device/state"
kill $holder
ended 60
[ "$code" = 0 ] || fail "expected a map of the others"
expect_json '([.paths[] | select(.state == "active") | .portal] | sort) == ["10.0.1.2:3260", "10.0.3.2:3260", "10.0.4.2:3260"]'
expect_json '[.failed_paths[].portal] == ["10.0.2.2:3260"] and (.failed_paths[0].reason | contains("given it up"))'
map=$(field .map)
echo running >"/sys/block/$offline/device/state"
wait_until 20 "all four paths were in the map" active 4
verify_pattern "$(field .device_node)" others
disconnect 1
expect_json '.outcome == "clean" and .warnings == []'
