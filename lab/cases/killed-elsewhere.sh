#!/bin/bash
# SIGKILL at every step of the clean-up of a connect that fails, with a map and without one, and of a forced disconnect whose paths are
# dead; before every call by which the connect of a single path changes the host, or a finisher does, which gets SIGTERM there as well.
# Whatever was left, connect and disconnect, or disconnect alone, then work and leave nothing.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B2 B4 C1 C16 D8 D9 D15
# limit: 45m
# soak
. /lab/lib.sh

file=$(connection 1 --portals 1,2)
mkfifo /tmp/told
told=(--json --progress json)

# By turns: both have to find what was left. What was written is there.
turn=0
then_works() { # [OPTION OF CONNECT]…
    turn=$((turn + 1))
    if [ $((turn % 2)) = 1 ]; then
        connect 1 "$@"
        verify_pattern "$(field .device_node)" kept
    fi
    disconnect 1
    no_leftovers
}

# KILL after each step of a verb, from a step on, that an undisturbed one tells of.
at_every_step() { # WHAT CODE FROM-EVENT COMMAND…
    local what=$1 expected=$2 from=$3 event k pid code=0 struck=0
    shift 3
    step "$what: what it tells of"
    ready
    "$@" >"$answer" 2>/tmp/events || code=$?
    [ "$code" = "$expected" ] || fail "$what: expected exit code $expected, saw $code: $(cat "$answer" /tmp/events)"
    after
    then_works
    steps_told | awk -v from="$from" '$1 == from { on = 1 } on' | tee /tmp/steps
    [ "$(wc -l </tmp/steps)" -ge 5 ] || fail "expected more steps"
    while read -r event k <&4; do
        step "$what: KILL after $event $k"
        ready
        "$@" >"$answer" 2>/tmp/told &
        pid=$!
        exec 3</tmp/told
        # How many paths had got as far when it failed differs.
        comes_to "$event" "$k" || [ "$k" -gt 1 ] || fail "it ended before it told of $event: $(cat "$answer")"
        kill -KILL $pid 2>/dev/null || :
        exec 3<&-
        code=0
        wait $pid || code=$?
        case $code in
        137) struck=$((struck + 1)) ;;
        # The last step may be the end.
        "$expected") echo "it had ended" ;;
        *) fail "expected exit code 137, saw $code: $(cat "$answer")" ;;
        esac
        after
        then_works
    done 4</tmp/steps
    echo "$what: struck $struck times"
    [ $struck -ge 4 ] || fail "expected it to be struck more often"
}

# A signal before each call of the command that changes the host, counted by kind.
at_every_call() { # SIGNAL WHAT COMMAND…
    local signal=$1 what=$2 kind n code struck=0
    shift 2
    step "$what: the calls it makes"
    ready
    strace -qq -o /tmp/trace -e "trace=$changing_calls" -e signal=none "$@" >"$answer" || fail "$what: $(cat "$answer")"
    after
    then_works "${options[@]}"
    grep -oE '^[a-z0-9]+\(' /tmp/trace | tr -d '(' | sort | uniq -c | tee /tmp/made
    for kind in $(awk '{ print $2 }' /tmp/made); do
        n=1
        while :; do
            ready
            code=0
            began=${EPOCHREALTIME/./}
            strace -qq -o /tmp/trace -e "trace=$kind" -e "inject=$kind:signal=$signal:when=$n" "$@" >"$answer" || code=$?
            took=$(((${EPOCHREALTIME/./} - began) / 1000))
            # It made fewer than that.
            if ! [ "$signal-$code" = KILL-137 ] && ! grep -q "^--- SIG$signal" /tmp/trace; then
                [ $code = 0 ] || fail "$what: exit code $code: $(cat "$answer")"
                after
                disconnect 1
                break
            fi
            step "$what: $signal at $kind $n, exit code $code after $took ms: $(grep "^$kind" /tmp/trace | tail -n 1 || :)"
            [ "$signal-$code" = KILL-137 ] || [ "$signal-$code" = TERM-0 ] || fail "did not expect exit code $code"
            after
            then_works "${options[@]}"
            n=$((n + 1)) struck=$((struck + 1))
        done
        # multipathd is asked only where it does not come to a new path for three seconds: some runs need not, others do.
        [ $n -gt 1 ] || [ "$kind" = connect ] || fail "$what was never struck at $kind"
    done
    echo "$what: $signal struck $struck times"
    # A finisher makes the fewest: its helper, a login, a claim, a scan.
    [ $struck -ge 6 ] || fail "expected it to be struck more often"
}

connect 1 --min-paths 2
write_pattern "$(field .device_node)" kept
disconnect 1
options=(--min-paths 2)

ready() { :; }
after() { :; }
at_every_step "the clean-up behind a wrong identity" 7 cleaning_up \
    bowline connect "$file" "${told[@]}" --wwid 3600140500000002b0f14000800000000

ready() { lab reject 2; }
after() { lab heal; }
at_every_step "the clean-up behind a map with too few paths" 3 cleaning_up \
    bowline connect "$file" "${told[@]}" --min-paths 2 --deadline 12s

ready() {
    connect 1 --min-paths 2
    udevadm settle
    lab drop 100%
}
at_every_step "a forced disconnect" 0 flushing bowline disconnect "$file" "${told[@]}" --force --flush-timeout 3s

ready() { :; }
after() { :; }
options=(--single-path)
at_every_call KILL "the connect of a single path" bowline connect "$file" --json --progress none --single-path

# A connect with a portal that refuses has left a finisher. In its place comes one of ours, which can be traced, once the portal does not
# refuse any more.
ready() {
    lab reject 2
    connect 1
    id=$(field .id) device=$(field .device_node)
    # shellcheck disable=SC2046 # it may have ended
    kill -KILL $(pgrep -f "bowline finish $id") 2>/dev/null || :
    wait_until 5 "the finisher ended" no_finisher
    lab heal
}
after() { verify_pattern "$device" kept; }
options=(--min-paths 2)
ready
after
then_works "${options[@]}"
for signal in KILL TERM; do
    at_every_call $signal "a finisher" bowline finish "$id" --deadline 60s
done
