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
# The command has one thread, so the calls are counted in one row.
calls=clone,clone3,vfork,rename,renameat,renameat2,unlink,unlinkat,link,linkat,pwrite64,connect

# Kills the verb at its call number N; false when it made fewer.
killed_at() { # N VERB
    local code=0
    strace -qq -o /tmp/trace -e trace=none -e "inject=$calls:signal=KILL:when=$1" \
        bowline "$2" "$file" --json --progress none >"$answer" || code=$?
    [ "$code" != 0 ] || return 1
    [ "$code" = 137 ] || fail "$2, killed at call $1: expected it to be killed, saw exit code $code: $(cat "$answer")"
    step "$2 was killed at call $1"
}

n=1
while killed_at $n connect; do
    # By turns: both have to find what was left.
    [ $((n % 2)) = 0 ] || connect 1
    disconnect 1
    no_leftovers
    n=$((n + 1))
done
[ $n -gt 15 ] || fail "expected a connect to make more calls than $n"
n=1
while killed_at $n disconnect; do
    [ $((n % 2)) = 0 ] || connect 1
    disconnect 1
    no_leftovers
    connect 1
    n=$((n + 1))
done
[ $n -gt 10 ] || fail "expected a disconnect to make more calls than $n"
no_leftovers
