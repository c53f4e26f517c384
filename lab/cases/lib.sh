# shellcheck shell=bash
# What the cases have in common. The last answer of bowline is JSON in $answer; what it said meanwhile goes to the
# case's output, so that it is there when the case fails.

set -Eeuo pipefail
shopt -s inherit_errexit
trap 'echo "FAILED in line $LINENO of $0: $BASH_COMMAND (exit code $?)" >&2' ERR

answer=/tmp/answer.json
iqn=$(lab connection 1 | jq -r .data.target_iqn)

# Where open-iscsi keeps its node records: Debian 13 has them in a folder of their own.
nodes=/etc/iscsi/nodes
[ ! -d /var/lib/iscsi ] || nodes=/var/lib/iscsi/nodes

step() { echo "== $*"; }

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# For wait_until: so many paths of $map work; nobody waits for missing paths any more; a process hangs in the kernel.
active() { [ "$(dmsetup status "$map" | grep -oE '[0-9]+:[0-9]+ A ' | wc -l)" = "$1" ]; }
no_finisher() { ! pgrep -f 'bowline finish' >/dev/null; }
hangs() { [[ $(ps -o stat= -p "$1") == D* ]]; }

# Undone at the end of the case however it ends, the last first.
undo=:
at_end() {
    undo="$*; $undo"
    trap 'eval "$undo"' EXIT
}

# The connection of volume N in a file; made as a controller hands it out unless the case has made it already.
connection() { # N [OPTION OF lab connection]…
    local file=/tmp/volume-$1.json
    [ -e "$file" ] && [ $# = 1 ] || lab connection "$@" >"$file"
    echo "$file"
}

# A volume's number stands for its connection; an id or a device for itself.
named() {
    case $1 in
    [0-9] | [0-9][0-9]) connection "$1" ;;
    *) echo "$1" ;;
    esac
}

expect_exit() { # CODE VERB VOLUME [OPTION]…
    local expected=$1 verb=$2 what code=0
    what=$(named "$3")
    shift 3
    step "$verb $what $*"
    bowline "$verb" "$what" --json --progress "${progress:-plain}" "$@" >"$answer" || code=$?
    [ "$code" = "$expected" ] || fail "$verb $what $*: expected exit code $expected, saw $code: $(jq -c . "$answer")"
    [ "$code" = 0 ] || jq -c . "$answer"
}

connect() { expect_exit 0 connect "$@"; }
# Until every path is in the map, however slow the machine is: without the number a map is handed out after a grace.
connect_all() { connect "$@" --min-paths 4; }
disconnect() { expect_exit 0 disconnect "$@"; }

# Of the last answer.
field() { jq -r "$1" "$answer"; }
expect_json() { jq -e "$1" "$answer" >/dev/null || fail "expected $1 of the answer, saw $(jq -c . "$answer")"; }

# Of the events in /tmp/events, where `progress=json connect … 2>/tmp/events` has put them.
expect_events() { jq -se "$1" /tmp/events >/dev/null || fail "expected $1 of the events, saw $(cat /tmp/events)"; }

# B1: a map is handed out a grace after it was read from: as long as that took since the beginning, but 1 to 5 s; no sooner, and later
# by a look and the journal only.
within_grace() {
    expect_events '(map(select(.event == "device_read"))[0].at) as $read | ([5, ([1, $read] | max)] | min) as $grace
        | (map(select(.event == "map_ready"))[0].at - $read) as $waited
        | $waited >= $grace - 0.2 and $waited <= $grace + 2'
}

# Of what is on the host, by the laboratory's inspector; its keys are those of `lab leftovers`.
host() { { lab leftovers || :; } | jq -r "$1"; }
expect_host() {
    local seen
    seen=$({ lab leftovers || :; })
    jq -e "$1" <<<"$seen" >/dev/null || fail "expected $1 of the host, saw $(jq -c . <<<"$seen")"
}

# What a disconnect that refuses must not touch.
kept() { host '[.maps, .wwids, .node_records, .attachments, .claims, (.scsi_devices | length), (.sessions | length)]'; }

no_leftovers() {
    local seen
    seen=$(lab leftovers) || fail "expected nothing on the host, saw $(jq -c 'with_entries(select(.value != []))' <<<"$seen")"
}

expect_same() { # WHAT BEFORE AFTER
    [ "$2" = "$3" ] || fail "$1 changed: $(diff <(echo "$2") <(echo "$3") || :)"
}

wait_until() { # SECONDS WHAT COMMAND…
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt "$end" ] || fail "waited in vain until $what"
        sleep 0.05
    done
}

# A megabyte that differs from seed to seed, through the device to the target, and whether it comes back.
pattern() { head -c 1048576 < <(yes "pattern of $1" 2>/dev/null || :); }
write_pattern() { pattern "$2" | dd of="$1" bs=64k oflag=direct iflag=fullblock conv=fsync status=none; }
verify_pattern() {
    local expected seen
    expected=$(pattern "$2" | sha256sum)
    seen=$(dd if="$1" bs=64k count=16 iflag=direct status=none | sha256sum)
    [ "$expected" = "$seen" ] || fail "$1 does not hold the pattern of $2"
}

# The node records with all their values, and the WWIDs that multipath has on file.
records() { find "$nodes" -type f -exec grep -H . {} + | sort; }
wwids() { grep '^/' /etc/multipath/wwids || :; }

# What an administrator does by hand.
portal() { echo "10.0.$1.2:3260"; }
record_by_hand() { # PORTAL NAME=VALUE…
    local portal
    portal=$(portal "$1")
    shift
    iscsiadm -m node -T "$iqn" -p "$portal" -o new >/dev/null
    for setting in "$@"; do
        iscsiadm -m node -T "$iqn" -p "$portal" -o update -n "${setting%%=*}" -v "${setting#*=}"
    done
}
login_by_hand() { # PORTAL
    record_by_hand "$1" node.session.scan=manual
    iscsiadm -m node -T "$iqn" -p "$(portal "$1")" --login >/dev/null
}
scsi_host_of() { # PORTAL
    local connection host
    for connection in /sys/class/iscsi_connection/*; do
        if [ "$(cat "$connection/persistent_address")" = "10.0.$1.2" ]; then
            host=$(realpath "$connection")
            host=${host%%/session*}
            echo "${host##*/}"
            return
        fi
    done
    fail "there is no session by portal $1"
}
scan_by_hand() { # PORTAL LUN
    echo "0 0 $2" >"/sys/class/scsi_host/$(scsi_host_of "$1")/scan"
    udevadm settle
}

# Milliseconds that a command takes, in $took.
timed() {
    local began=${EPOCHREALTIME/./}
    "$@"
    took=$(((${EPOCHREALTIME/./} - began) / 1000))
}

# A verb in the background, to be met with trouble in its middle: `tells EVENT` returns once it has told of an event, `ended SECONDS` when it has ended, which must be by then; $code and $took are how.
begin() { # VERB VOLUME [OPTION]…
    local what
    verb=$1 what=$(named "$2")
    shift 2
    step "$verb $what $*"
    # Else what the verb before has told would be taken for this one's, until the shell has come to start it.
    : >/tmp/events
    : >"$answer"
    began=${EPOCHREALTIME/./}
    bowline "$verb" "$what" --json --progress json "$@" >"$answer" 2>/tmp/events &
    running=$!
    note_stalls "$running" >/tmp/stalls &
    watching=$!
}
# Where there are too few processors a guest stands still as a whole, for more than a second at times; nothing can end then. Each time, while
# a process lives: when it went on, and for how many milliseconds it had not.
note_stalls() { # PROCESS
    local last now gap never
    exec {never}<> <(:)
    last=${EPOCHREALTIME/./}
    while kill -0 "$1" 2>/dev/null; do
        read -rt 0.05 -u "$never" || :
        now=${EPOCHREALTIME/./}
        gap=$(((now - last) / 1000 - 50))
        [ $gap -lt 100 ] || echo "$now $gap"
        last=$now
    done
}
told() { grep -q "\"event\":\"$1\"" /tmp/events; }
told_or_ended() { told "$1" || ! kill -0 "$running" 2>/dev/null; }
tells() {
    wait_until 60 "$verb told of $1" told_or_ended "$1"
    told "$1" || fail "$verb ended before it told of $1: $(cat /tmp/events "$answer")"
}
# multipathd stands still from an event on until all four disks are there and udev is done with them.
unknown_to_multipathd() { # EVENT
    tells "$1"
    lab freeze multipathd
    at_end lab thaw multipathd
    all_there() { [ "$(grep -c '"event":"device_appeared"' /tmp/events)" = 4 ]; }
    wait_until 30 "all four devices were there" all_there
    udevadm settle
}
ended() {
    code=0
    wait "$running" || code=$?
    took=$(((${EPOCHREALTIME/./} - began) / 1000))
    jq -rR 'fromjson? | "[\(.at)s] \(.event) \(.endpoint.portal // .device // .map // "") \(.reason // "")"' /tmp/events
    echo "$verb: exit code $code after $took ms: $(jq -c '.error // {outcome, paths: [.paths[]?.state], warnings}' "$answer")"
    local end=$((began + $1 * 1000000)) stalled
    wait "$watching"
    stalled=$(LC_ALL=C awk -v end="$end" '$1 > end { past = ($1 - end) / 1000; sum += past < $2 ? past : $2 } END { print int(sum) }' /tmp/stalls)
    [ "$took" -le $(($1 * 1000 + 1000 + stalled)) ] ||
        fail "expected the end by $1 s, saw it after $took ms, in which the guest stood still for $stalled ms after that"
}

# What a verb has told of in /tmp/events, step by step, a line each: EVENT K, the K-th of that name. A step that is tried again is told of
# once more, and is the same step.
steps_told() { jq -c 'del(.schema, .at)' /tmp/events | awk '!told[$0]++' | jq -r .event | awk '{ print $1, ++told[$1] }'; }
# Reads from descriptor 3 what a verb tells of until such a step; false when it ended before.
comes_to() { # EVENT K
    local event=$1 k=$2 what
    local -A steps=()
    while read -r line <&3; do
        # Without the time, as above.
        what=${line#*,\"event\":}
        [[ $what == "\"$event\""* ]] || continue
        steps[$what]=1
        [ ${#steps[@]} -lt "$k" ] || return 0
    done
    return 1
}
# The calls by which the command changes the host or has it changed. It has one thread, so they are counted in one row for each kind. Not
# among them: what is written to a file before it is renamed or linked to its name, which nobody reads before; and the folders of its
# own, which the first connect makes.
changing_calls=clone,clone3,vfork,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,pwrite64
changing_calls+=,connect,sendto,sendmsg,sendmmsg,shutdown

# What a verb that met with trouble may say (by `begin` and `ended`), and that it is so: the volume is attached and can
# be read; or it is not and nothing is left; or it is as it was; or what is left is named. It has so many $paths (4)
# and $maps (1).
truthful() {
    case $verb-$code in
    connect-0)
        expect_json "(.map == null) == (${maps:-1} == 0)"
        dd if="$(field .device_node)" of=/dev/null bs=4k count=1 iflag=direct status=none
        ;;
    connect-[36]) expect_json '.error.leftovers == []' && no_leftovers ;;
    disconnect-0) expect_json '.outcome == "clean"' && no_leftovers ;;
    disconnect-[56])
        expect_json '.error.leftovers == []'
        expect_host "(.maps | length) == ${maps:-1} and (.scsi_devices | length) == ${paths:-4}"
        ;;
    *-4) expect_json '.error.leftovers != []' && names_what_is_left ;;
    *) fail "$verb: exit code $code: $(jq -c . "$answer")" ;;
    esac
}

# CHAP: a verb of which every program is recorded, and the places where none of the words in $secrets may be. The connection comes
# by standard input, so that its file is not what is found. What it answers is JSON; with `spoken=plain`, words.
# strace returns when the last process has ended that the verb has started, the finisher too.
secretly() { # VERB [OPTION]…
    local verb=$1 code=0 how=(--json --progress json)
    [ -z "${spoken:-}" ] || how=(--progress "$spoken")
    step "$* ${how[*]}, under strace"
    strace -f -v -qq -s 65536 -o "/tmp/trace-$verb" -e trace=execve \
        bowline "$@" - "${how[@]}" >"$answer" 2>"/tmp/progress-$verb" || code=$?
    cp "$answer" "/tmp/answer-$verb"
    return $code
}
# The same for volume 1, and it must succeed.
traced() { # VERB [OPTION]…
    lab connection 1 | secretly "$@" || fail "$1: $(cat "$answer" "/tmp/progress-$1")"
}
shows_no_secret() { # VERB
    grep -q 'execve.*iscsiadm' "/tmp/trace-$1" || fail "the trace shows no program"
    # iscsid says something of every login that succeeds or is refused, and of every logout.
    wait_until 10 "iscsid has written to the log since it was last searched" more_logged
    logged=$(iscsids_lines)
    dmesg >/tmp/dmesg
    nowhere /tmp /root /var/lib/bowline /var/log /run/bowline /run/lock /run/udev
}

# What iscsid says goes to /tmp/syslog from now on: the guest has nobody else who listens. An iscsid that is started anew finds the
# listener.
listen_to_iscsid() {
    : >/tmp/syslog
    busybox syslogd -n -O /tmp/syslog &
    at_end "kill $! && rm -f /dev/log"
    wait_until 10 "somebody listens for the log" test -S /dev/log
    lab restart iscsid
    logged=$(iscsids_lines)
}
iscsids_lines() { grep -c iscsid /tmp/syslog || :; }
more_logged() { [ "$(iscsids_lines)" -gt "$logged" ]; }
nowhere() { # PLACE…
    local found
    found=$(grep -rlF "$secrets" "$@" 2>/dev/null || :)
    [ -z "$found" ] || fail "a secret is in $found"
}

# Everything that is on the host is named by the leftovers of the last answer, one line each, and nothing else is (D9). A link that leads
# to something goes with it; the file of an attachment stays as long as something of it does; of a claim, or of a login that is under way,
# the session or the record is named. What nobody can name must not be there.
names_what_is_left() {
    local seen dead claims wrong
    seen=$(host .)
    claims=$({ cat /var/lib/bowline/claims/* 2>/dev/null || :; } | jq -s .)
    dead=$(jq -r '.dev_links[]' <<<"$seen" | while read -r link; do [ -e "$link" ] || echo "$link"; done)
    wrong=$(jq -r --argjson seen "$seen" --arg dead "$dead" --argjson claims "$claims" '
        .error.leftovers as $named
        | [$named[] | select(test("which is (on its way out|being made)$") | not)] as $there
        | {
            sessions: ["^session [0-9]+ to iqn\\.", $seen.sessions],
            scsi_devices: ["^SCSI device ", $seen.scsi_devices],
            maps: ["^(multipath map|partition map|logical volume|block device) ", $seen.maps],
            node_records: ["^node record of iqn\\.", $seen.node_records],
            wwids: ["^wwids entry ", $seen.wwids],
            links: ["^link /dev/", ($dead | split("\n"))]
        } as $kinds
        | ($kinds | to_entries[] | .value[0] as $word | [$there[] | select(test($word))] as $lines
            | select(($lines | length) != (.value[1] | length)) | "\(.key): \(.value[1]), named: \($lines)"),
        ($named[] | select(. as $line | [$kinds[][0], "^bowline.s own (claim on|state of attachment) "] | any(. as $word | $line | test($word)) | not)
            | "of no known kind: \(.)"),
        ($claims[].endpoint | select("\(.iqn) at \(.portal)" as $at | $named | any(endswith($at) or contains($at + ",")) | not) | "claim: \(.)"),
        ($seen.connecting[] | select(" at \(.)" as $at | $named | any(endswith($at) or contains($at + ",")) | not) | "connecting: \(.)"),
        ($seen | select((.attachments | length) > 1) | "attachments: \(.attachments)"),
        ($seen | {processes, temporary, discovery_records} | to_entries[] | select(.value != []) | "\(.key): \(.value)")
    ' "$answer")
    [ -z "$wrong" ] || fail "what is left and what is named differ: $wrong; named: $(jq -c .error.leftovers "$answer"), seen: $(jq -c . <<<"$seen")"
}

# Volume N as new, now and when the case ends: nothing may be made of what an earlier case has left on it. (LVM keeps in
# /run which groups it has activated.)
blank() { # N
    at_end "erase $1"
    erase "$1"
}
erase() {
    fallocate --punch-hole --offset 0 --length 64MiB "/run/volumes/vol$1"
    rm -rf /run/lvm
}

# Partition N of a map or a disk, and two of them, of which the host has heard.
part() { [[ $1 == /dev/mapper/* ]] && echo "$1-part$2" || echo "$1$2"; }
partition() { # DEVICE
    # The kernel does not partition a map; as an administrator does, kpartx is asked to.
    local reread=
    [[ $1 != /dev/mapper/* ]] || reread=--no-tell-kernel
    printf 'label: gpt\nsize=24MiB\nsize=24MiB\n' | sfdisk --quiet --wipe always $reread "$1"
    [ -z "$reread" ] || kpartx -u -p -part "$1"
    wait_until 30 "$1 has partitions" test -b "$(part "$1" 2)"
    udevadm settle
}

# A file system on a device, mounted at /tmp/mounted, and files that only the page cache has; whether they are there.
make_files() { # DEVICE
    mkfs.ext4 -q "$1"
    mount_at "$1"
    pattern "$1" >/tmp/mounted/big
    echo precious >/tmp/mounted/file
    (cd /tmp/mounted && sha256sum big file) >/tmp/sums
}
verify_files() { # DEVICE
    fsck.ext4 -n -f "$1" >/tmp/fsck || fail "the file system on $1 is damaged: $(cat /tmp/fsck)"
    mount_at "$1"
    (cd /tmp/mounted && sha256sum --quiet --check /tmp/sums) || fail "the files on $1 are not what was written"
    umount /tmp/mounted
}
mount_at() { # DEVICE
    mkdir -p /tmp/mounted
    at_end "umount --lazy /tmp/mounted 2>/dev/null || :"
    mount "$1" /tmp/mounted
}

# A disconnect is refused because of something whose name is said, and the attachment is whole.
refused() { # VOLUME WORD IN ITS CAUSES
    local before
    before=$(host 'del(.dev_links)')
    expect_exit 5 disconnect "$1"
    expect_json ".error.kind == \"refused\" and .error.leftovers == [] and any(.error.causes[]; contains(\"$2\"))"
    expect_same "the host" "$before" "$(host 'del(.dev_links)')"
}
clean_disconnect() { # VOLUME [OPTION]…
    disconnect "$@"
    expect_json '.outcome == "clean" and .leftovers == [] and .warnings == []'
    no_leftovers
}
