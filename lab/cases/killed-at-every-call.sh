#!/bin/bash
# SIGKILL before every call by which a connect or a disconnect changes the host or has it changed: a program or a helper started,
# a file replaced or removed, a word to multipathd. Whatever was left, connect and disconnect, or disconnect alone, then work
# and leave nothing.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: B4 C16 D9 D15
# limit: 60m
# soak
. /lab/lib.sh

# Two portals have every step that four have, in half of the time.
file=$(connection 1 --portals 1,2)
# The command has one thread, so its calls are counted in one row for each kind.
calls=clone,clone3,vfork,rename,renameat,renameat2,unlink,unlinkat,link,linkat,pwrite64,connect

# The kinds of calls that a verb makes, and how many.
kinds() { # VERB
    strace -qq -o /tmp/trace -e "trace=$calls" -e signal=none \
        bowline "$1" "$file" --json --progress none >"$answer" || fail "$1: $(cat "$answer")"
    grep -oE '^[a-z0-9]+\(' /tmp/trace | tr -d '(' | sort | uniq -c
}

# Kills the verb at its call number N of a kind; false when it made fewer.
killed_at() { # KIND N VERB
    local code=0
    strace -qq -o /tmp/trace -e "trace=$1" -e "inject=$1:signal=KILL:when=$2" \
        bowline "$3" "$file" --json --progress none >"$answer" || code=$?
    [ "$code" != 0 ] || return 1
    [ "$code" = 137 ] || fail "$3, killed at $1 $2: expected it to be killed, saw exit code $code: $(cat "$answer")"
    step "$3 was killed at $1 $2"
}

# Nothing is attached before a connect, and the volume before a disconnect.
ready() { if [ "$1" = connect ]; then disconnect 1; else connect 1; fi; }

kills=0
for verb in connect disconnect; do
    ready $verb
    kinds $verb | tee /tmp/made
    for kind in $(awk '{ print $2 }' /tmp/made); do
        ready $verb
        n=1
        while killed_at "$kind" $n $verb; do
            kills=$((kills + 1))
            # By turns: both have to find what was left.
            [ $((kills % 2)) = 0 ] || connect 1
            disconnect 1
            no_leftovers
            ready $verb
            n=$((n + 1))
        done
    done
done
echo "$kills kills"
[ $kills -gt 30 ] || fail "expected more calls than $kills"
disconnect 1
no_leftovers
