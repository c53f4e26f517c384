#!/bin/bash
# SIGKILL before every call by which a connect or a disconnect changes the host or has it changed: a program or a helper started,
# a file replaced or removed, a word to the helper (which writes to sysfs and flushes) or to multipathd. Whatever was left,
# connect and disconnect, or disconnect alone, then work and leave nothing.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B4 C16 D9 D15
# limit: 60m
# soak
. /lab/lib.sh

# Two portals have every step that four have, in half of the time.
file=$(connection 1 --portals 1,2)
# What is sent, and to whom, by verb: should it be sent by another call one day, this case has to hear of it.
declare -A sends=([connect]='host[0-9]+/scan' [disconnect]='del map .*device/delete')

# The kinds of calls that a verb makes, and how many.
kinds() { # VERB
    strace -qq -s 100 -o /tmp/trace -e "trace=$changing_calls" -e signal=none \
        bowline "$1" "$file" --json --progress none >"$answer" || fail "$1: $(cat "$answer")"
    grep -E '^send' /tmp/trace >&2
    grep -E '^send' /tmp/trace | tr '\n' ' ' | grep -qE "${sends[$1]}" || fail "expected ${sends[$1]} to be sent"
    grep -oE '^[a-z0-9]+\(' /tmp/trace | tr -d '(' | sort | uniq -c
}

# Kills the verb at its call number N of a kind; false when it made fewer.
killed_at() { # KIND N VERB
    local code=0
    strace -qq -o /tmp/trace -e "trace=$1" -e "inject=$1:signal=KILL:when=$2" \
        bowline "$3" "$file" --json --progress none >"$answer" || code=$?
    [ "$code" != 0 ] || return 1
    [ "$code" = 137 ] || fail "$3, killed at $1 $2: expected it to be killed, saw exit code $code: $(cat "$answer")"
    step "$3 was killed at $1 $2: $(tail -n 2 /tmp/trace | grep "^$1" || :)"
}

# Nothing is attached before a connect, and the volume before a disconnect. A host that has never had the volume has a program
# (a clone) note its identity; one that had it has the line still, and we write in it (a pwrite64).
ready() { # VERB KIND
    if [ "$1" = disconnect ]; then
        connect 1
    else
        disconnect 1
        [ "$2" != clone ] || rm -f /etc/multipath/wwids
    fi
}

connect 1
for verb in connect disconnect; do
    ready $verb any
    kinds $verb | tee /tmp/made
    for kind in $(awk '{ print $2 }' /tmp/made); do
        ready $verb "$kind"
        n=1
        while killed_at "$kind" $n $verb; do
            echo "$verb $kind" >>/tmp/kills
            # By turns: both have to find what was left. But a folder that is left a connect would put to use.
            if [ "$kind" != rmdir ] && [ $(($(wc -l </tmp/kills) % 2)) = 1 ]; then
                connect 1
                echo "a killed $verb, then connect" >>/tmp/turns
            else
                echo "a killed $verb, then disconnect" >>/tmp/turns
            fi
            disconnect 1
            no_leftovers
            ready $verb "$kind"
            n=$((n + 1))
        done
        grep -qx "$verb $kind" /tmp/kills || fail "$verb was never killed at $kind"
    done
done
sort /tmp/kills | uniq -c
sort /tmp/turns | uniq -c | tee /tmp/counted
# The turns of each verb, none of them rare.
[ "$(awk '$1 >= 10' /tmp/counted | wc -l)" = 4 ] || fail "expected more kills of each verb, with either turn after them"
disconnect 1
no_leftovers
