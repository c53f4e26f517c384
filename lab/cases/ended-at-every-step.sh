#!/bin/bash
# SIGTERM and SIGKILL at every step of a connect and of a disconnect: after each event that the verb tells of. Whatever
# was left, connect and disconnect then work and leave nothing; a terminated connect leaves nothing by itself.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B4 C1 D9 D15
# limit: 50m
# soak
. /lab/lib.sh

# Two portals have every step that four have, in half of the time.
file=$(connection 1 --portals 1,2)
paths=2
mkfifo /tmp/told

# Sends the signal after event N of the verb; false when the verb ended before.
ended_after() { # SIGNAL N VERB
    local signal=$1 n=$2 verb=$3 seen=0 pid
    bowline "$verb" "$file" --json --progress json >"$answer" 2>/tmp/told &
    pid=$!
    exec 3</tmp/told
    while [ $seen -lt "$n" ] && read -r line <&3; do seen=$((seen + 1)); done
    if [ $seen = "$n" ]; then
        kill "-$signal" $pid 2>/dev/null || :
        step "$verb: $signal after event $n: $(jq -r .event <<<"$line")"
    fi
    later=$(cat <&3)
    exec 3<&-
    code=0
    wait $pid || code=$?
    [ $seen = "$n" ]
}

# Whether all that was told after that event was told with it, of the same look at the host: then the signal came after the last step.
was_over() { jq -se "all(.[]; .at - $(jq .at <<<"$line") < 0.02)" <<<"$later" >/dev/null; }

for signal in TERM KILL; do
    n=1
    while ended_after $signal $n connect; do
        if [ $signal = TERM ]; then
            # A signal that comes after the last step finds the volume attached.
            [ $code = 3 ] || { [ $code = 0 ] && was_over; } ||
                fail "expected exit code 3, saw $code and more events: $later: $(cat "$answer")"
            verb=connect truthful
        fi
        connect 1
        disconnect 1
        no_leftovers
        n=$((n + 1))
    done
    disconnect 1
    connect 1
    n=1
    while ended_after $signal $n disconnect; do
        [ $signal = KILL ] || verb=disconnect truthful
        disconnect 1
        no_leftovers
        connect 1
        n=$((n + 1))
    done
done
no_leftovers
