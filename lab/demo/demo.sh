#!/bin/bash
# The demonstration, run in the laboratory's guest by `cargo xtask demo`: a volume over four portals is attached,
# used while half of the portals are dead, and given back; then the same is timed step by step.
set -euo pipefail
shopt -s lastpipe

work=/run/demo
connection=$work/volume.json
mount=$work/mount
rounds=3

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
working_paths() { dmsetup status "$map" | grep -oE '[0-9]+:[0-9]+ A' | wc -l; }

# Waits until so many paths work, and says when that is. Nothing is reported before it is true.
await_paths() {
    local wanted=$1 limit=$2 start now seen
    milliseconds start
    while seen=$(working_paths); [ "$seen" != "$wanted" ]; do
        milliseconds now
        [ $((now - start)) -lt $((limit * 1000)) ] || fail "$seen working paths after $limit s, not $wanted"
        sleep 0.2
    done
    milliseconds now
    say "working paths: $seen of 4, $(((now - start) / 1000)) s after that"
}

# Random data into files, with their checksums; on the target when it returns.
write_files() {
    local name start now
    milliseconds start
    for name in "$@"; do head -c 4M /dev/urandom >"$mount/$name"; done
    sync -f "$mount"
    (cd "$mount" && sha256sum "$@") >>"$work/sums"
    milliseconds now
    say "wrote $# files of 4 MiB, synced, in $(((now - start) / 1000)).$(((now - start) / 100 % 10)) s"
}

# Reads all that was written from the target, not from memory, and compares.
check_files() {
    local start now count
    milliseconds start
    sync
    echo 3 >/proc/sys/vm/drop_caches
    (cd "$mount" && sha256sum --quiet --check "$work/sums") || fail "what is read is not what was written"
    count=$(wc -l <"$work/sums")
    milliseconds now
    say "read $count files back, all checksums agree, in $(((now - start) / 1000)).$(((now - start) / 100 % 10)) s"
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
        step("connect"; "scans until disks are there"; first_of("path_scanning"); last_of("device_appeared")),
        step("connect"; "udev with the first disk"; first_of("device_appeared"); first_of("map_requested")),
        step("connect"; "map until it is read from"; first_of("map_requested"); last_of("map_ready")),
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
[ "$(working_paths)" = 4 ] || fail "not all four paths work"

headline "Use it: a file system, and random data"
show mkfs.ext4 -q -F "$device"
show mount "$device" "$mount"
write_files before-{1,2,3}
check_files

headline "Black-hole half of the portals: every packet from 1 and 2 is dropped"
show lab drop 100% 1 2
say "reading and writing goes on; what is under way on the dead paths waits until iscsid gives up on them"
say "(it pings after 5 s of silence and waits 5 s for the answer; then commands fail over after 5 s more)"
write_files during-{1,2,3}
check_files
await_paths 2 60
show dmsetup status "$map"
check_files

headline "Heal the network: both paths come back by themselves"
show lab heal
write_files after-{1,2,3}
await_paths 4 120
show dmsetup status "$map"
check_files

headline "Give the volume back"
show umount "$mount"
show bowline disconnect "$connection" 2>&1
nothing_is_left

headline "Step by step: attach and detach $rounds times more, timed from the events of --progress json"
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
headline "Nothing is left"
nothing_is_left
