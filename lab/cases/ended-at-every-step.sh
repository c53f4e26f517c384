#!/bin/bash
# SIGTERM and SIGKILL at every step of a connect and of a disconnect, of a map and of a single path: after each event that an
# undisturbed verb tells of. Whatever was left, connect and disconnect, or disconnect alone, then work and leave nothing; a
# terminated connect leaves nothing by itself.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B4 C1 D9 D15
# limit: 50m
# soak
. /lab/lib.sh

# Two portals have every step that four have, in half of the time.
file=$(connection 1 --portals 1,2)
mkfifo /tmp/told
at_end lab thaw multipathd

attach() { connect 1 "${options[@]}"; }

# The steps of an undisturbed verb, a line each.
list_steps() { # VERB
    local with=()
    [ "$1" = disconnect ] || with=("${options[@]}")
    begin "$1" 1 "${with[@]}"
    if [ "$kind-$1" = map-connect ]; then
        held_until_asked tells path_preparing
        tells map_requested
        lab thaw multipathd
    fi
    ended 60
    [ $code = 0 ] || fail "$1: $(cat "$answer")"
    truthful
    steps_told >"/tmp/steps-$1"
    cat "/tmp/steps-$1"
}

# multipathd makes the map by itself when it is quicker than we; so that it is asked for it, it stands still until then.
held_until_asked() { # COMMAND…: returns early in the connect
    "$@"
    lab freeze multipathd
}

# Whether nothing was begun after that event, but only the read ended, whose beginning is not told, and the map was seen to be whole: then
# the signal came after the last step.
was_over() { jq -se 'all(.[]; .event | IN("path_joined", "device_read", "map_ready"))' <<<"$later" >/dev/null; }

# Sends the signal after a step of the verb.
strike() { # SIGNAL VERB EVENT K
    local signal=$1 verb=$2 event=$3 k=$4 with=() pid
    [ "$verb" = disconnect ] || with=("${options[@]}")
    step "$kind, $verb: $signal after $event $k"
    bowline "$verb" "$file" --json --progress json "${with[@]}" >"$answer" 2>/tmp/told &
    pid=$!
    exec 3</tmp/told
    [ "$event" != map_requested ] || held_until_asked comes_to path_preparing 1
    comes_to "$event" "$k" || fail "$verb ended before it told of $event $k: $(cat "$answer")"
    kill "-$signal" $pid 2>/dev/null || :
    since=${EPOCHREALTIME/./}
    [ "$event" != map_requested ] || lab thaw multipathd
    later=$(cat <&3)
    exec 3<&-
    code=0
    wait $pid || code=$?
    since=$(((${EPOCHREALTIME/./} - since) / 1000))
    echo "exit code $code, $since ms after the signal"
    # Only what was under way is waited for.
    [ "$signal-$verb" != TERM-disconnect ] || [ $since -le 5000 ] || fail "expected the end within 5 s, saw it after $since ms"
    case $signal-$verb-$code in
    # A disconnect is interrupted while all is whole, or with something left; or what was under way was the last.
    KILL-*-137 | TERM-connect-3 | TERM-disconnect-[045]) ;;
    *-0) was_over || fail "it went on as if nothing had come: $later" ;;
    *) fail "exit code $code, and it told of: $later: $(cat "$answer")" ;;
    esac
    [ "$signal" = KILL ] || truthful
    echo "$event $k" >>"/tmp/struck-$kind-$verb-$signal"
}

# By turns: both have to find what was left. After KILL the turns are those that come after TERM the other way round.
then_works() {
    turn=$((turn + 1))
    [ $((turn % 2)) = 0 ] || attach
    disconnect 1
    no_leftovers
}

# So many steps have a connect and a disconnect.
play() { # CONNECT DISCONNECT
    local signal verb event k
    list_steps connect
    list_steps disconnect
    for verb in connect disconnect; do
        [ "$(wc -l <"/tmp/steps-$verb")" = "$1" ] || fail "expected $1 steps of a $verb of a $kind, saw $(cat "/tmp/steps-$verb")"
        for signal in TERM KILL; do
            turn=0
            [ $signal = TERM ] || turn=1
            while read -r event k <&4; do
                [ $verb = connect ] || attach
                strike $signal $verb "$event" "$k"
                then_works
            done 4<"/tmp/steps-$verb"
            diff "/tmp/steps-$verb" "/tmp/struck-$kind-$verb-$signal" || fail "$signal did not strike every step of a $verb"
        done
        shift
    done
}

kind=map options=(--min-paths 2) paths=2 maps=1
play 15 12
kind=disk options=(--single-path) paths=1 maps=0
play 6 6
