#!/bin/bash
# The demonstration, run in the laboratory's guest by `cargo xtask demo`: a volume over four portals is attached,
# used while half of the portals are dead, and given back; then the same is timed step by step.
set -Eeuo pipefail

work=/run/demo
connection=$work/volume.json
mount=$work/mount
rounds=2

# Milliseconds since the guest was started, without starting a program for it.
milliseconds() { local micro=${EPOCHREALTIME/[.,]/}; printf -v "$1" %d $((micro / 1000)); }
milliseconds began

# A line of the story, with the seconds since its beginning.
say() {
    local now
    milliseconds now
    printf '[%3d.%d s] %s\n' $(((now - began) / 1000)) $(((now - began) / 100 % 10)) "$*"
}

# A chapter.
headline() { printf '\n== %s\n' "$*"; }

fail() {
    printf 'demo: FAILED: %s\n' "$*" >&2
    exit 1
}
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

# Shows a command as one would type it, and runs it.
show() {
    printf '$ %s\n' "$*"
    "$@"
}

# The paths that the kernel uses now, as device-mapper tells it: a path is MAJOR:MINOR, then A or F.
working_paths() { dmsetup status "$map" | { grep -oE "[0-9]+:[0-9]+ A" || true; } | wc -l; }

# Reports each change of the number of working paths, until it is stopped.
watch_paths() {
    local seen=$1 now
    while sleep 0.3; do
        now=$(working_paths)
        [ "$now" = "$seen" ] || say "    working paths: $now of 4"
        seen=$now
    done
}

# Waits until so many paths work.
await_paths() {
    local wanted=$1 limit=$2 start now
    milliseconds start
    until [ "$(working_paths)" = "$wanted" ]; do
        milliseconds now
        [ $((now - start)) -lt $((limit * 1000)) ] || fail "after $limit s there are not $wanted working paths"
        sleep 0.3
    done
    say "now $wanted of 4 paths work"
}

# The seconds since START, with one decimal.
seconds_since() {
    local now
    milliseconds now
    printf '%d.%d s' $(((now - $1) / 1000)) $(((now - $1) / 100 % 10))
}

# Random data into a file, with its checksum; on the target when it returns.
write_file() {
    local start
    milliseconds start
    dd if=/dev/urandom of="$mount/$1" bs=1M count=4 conv=fsync status=none
    (cd "$mount" && sha256sum "$1") >>"$work/sums"
    say "wrote and synced $1, 4 MiB, in $(seconds_since "$start")"
}

# Reads all that was written from the target, not from memory, and compares.
check_files() {
    local start
    milliseconds start
    sync
    echo 3 >/proc/sys/vm/drop_caches
    (cd "$mount" && sha256sum --quiet --check "$work/sums") || fail "what is read is not what was written"
    say "read all $(wc -l <"$work/sums") files back from the target, the checksums agree, in $(seconds_since "$start")"
}

# What is on the initiator; the demonstration ends here unless that is nothing.
nothing_is_left() {
    lab leftovers >"$work/leftovers" || { cat "$work/leftovers"; fail "something is left behind"; }
    say "lab leftovers: $(jq -c 'map_values(length)' "$work/leftovers")"
}

# From the events of all rounds: when each step began and ended, over all paths. Steps of different paths overlap.
table() {
    local verb=$1 round
    for ((round = 1; round <= rounds; round++)); do
        grep '^{' "$work/$verb.$round.events" | jq -s --slurpfile total "$work/$verb.$round.total" "$steps"
    done | jq -rs --arg verb "$verb" '
        def pad($width): tostring | . + " " * ([$width - length, 0] | max);
        def seconds: if . == null then "-" else . * 100 | round | "\(. / 100 | floor).\(. % 100 + 100 | tostring[1:])" end;
        def cell: if .from == null or .to == null then "-" else "\(.to - .from | seconds)  (\(.from | seconds) - \(.to | seconds))" end;
        ("\($verb), seconds (from - to)" | pad(34)) + ([range(length) | "round \(. + 1)" | pad(22)] | add),
        (. as $rounds | .[0] | map(select(.verb == $verb)) | range(length) as $i | [$rounds[] | map(select(.verb == $verb))[$i]]
            | ("  " + .[0].step | pad(34)) + (map(cell | pad(22)) | add)) | sub(" +$"; "")'
}
# A step is what lies between the first of one event and the last of another.
steps='
    . as $events
    | def first_of($name): [$events[] | select(.event == $name).at] | first;
      def last_of($name): [$events[] | select(.event == $name).at] | last;
      def step($verb; $step; $from; $to): {verb: $verb, step: $step, from: $from, to: $to};
    [
        step("connect"; "node records"; first_of("path_preparing"); last_of("path_logging_in")),
        step("connect"; "logins"; first_of("path_logging_in"); last_of("path_logged_in")),
        step("connect"; "scans, until disks are there"; first_of("path_scanning"); last_of("device_appeared")),
        step("connect"; "udev, until the map is there"; first_of("device_appeared"); first_of("path_joined")),
        step("connect"; "the map, until it is usable"; first_of("path_joined"); last_of("map_ready")),
        step("disconnect"; "flush"; first_of("flushing"); last_of("flushed")),
        step("disconnect"; "map removed"; first_of("map_removing"); last_of("map_removed")),
        step("disconnect"; "disks gone"; first_of("device_deleting"); last_of("device_gone")),
        step("disconnect"; "sessions and records gone"; first_of("path_logging_out"); last_of("path_gone")),
        (("connect", "disconnect") as $verb | step($verb; "whole command"; 0; $total[0] / 1000))
    ]'

mkdir -p "$mount"
headline "The host: Linux $(uname -r), open-iscsi $(iscsiadm --version | grep -oE '[0-9.]+$'), $(multipath -h 2>&1 | grep -oE 'multipath-tools v[0-9.]+' | head -1)"
nothing_is_left
say "what the storage controller hands out:"
lab connection 1 | tee "$connection"

headline "Attach the volume over its four portals"
show bowline connect "$connection" 2>&1
map=$(bowline inspect --json | jq -r '.attachments[0].map')
device=/dev/mapper/$map

headline "The map and its paths: first as bowline sees them, then as device-mapper does"
show bowline inspect
show dmsetup status "$map"
await_paths 4 30

headline "Use it: a file system, and random data"
show mkfs.ext4 -q -F "$device"
show mount "$device" "$mount"
for number in 1 2 3; do write_file "before-$number"; done
check_files

headline "Black-hole half of the portals: every packet from 1 and 2 is dropped"
session=(/sys/class/iscsi_session/session*)
link=(/sys/class/iscsi_connection/connection*)
say "a dead path is noticed after $(cat "${link[0]}/recv_tmo") s of silence, a ping that is not answered for $(cat "${link[0]}/ping_tmo") s,"
say "and $(cat "${session[0]}/recovery_tmo") s to come back; only then does what was under way on it go over another path"
show lab drop 100% 1 2
watch_paths 4 &
watcher=$!
for number in 1 2 3; do write_file "during-$number"; done
check_files
await_paths 2 60
show dmsetup status "$map"

headline "Heal the network: both paths come back by themselves"
show lab heal
write_file after-1
await_paths 4 120
kill "$watcher"
wait "$watcher" || true
show dmsetup status "$map"
check_files

headline "Give the volume back"
show umount "$mount"
show bowline disconnect "$connection" 2>&1
nothing_is_left

headline "Step by step: attached and detached $rounds times more, timed from the events of --progress json"
for ((round = 1; round <= rounds; round++)); do
    for verb in connect disconnect; do
        milliseconds start
        bowline "$verb" "$connection" --json --progress json >"$work/result" 2>"$work/$verb.$round.events" ||
            { cat "$work/result" "$work/$verb.$round.events"; fail "$verb of round $round"; }
        milliseconds end
        echo $((end - start)) >"$work/$verb.$round.total"
    done
    lab leftovers >"$work/leftovers" || { cat "$work/leftovers"; fail "something is left behind"; }
done
table connect
table disconnect
nothing_is_left
