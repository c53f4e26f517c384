#!/bin/bash
# The hand of `cargo xtask lab cases` in the guest: runs NAME=SECONDS one after another. Each begins on a clean
# initiator, has a limit of its own, and passes only if it leaves nothing behind. Lines that begin with 0x1e are
# for the runner outside; everything else is the case's.
set -u
exec 2>&1

mark() { printf '\n\036%s\n' "$*"; }

end_case() { # MILLISECONDS-AT-BEGIN [WHY]
    [ -n "${2:-}" ] && evidence
    mark "end $((${EPOCHREALTIME/./} / 1000 - $1)) ${2:-}"
}

evidence() {
    mark evidence
    [ -e /run/lab-leftovers ] && jq -c . /run/lab-leftovers
    echo "multipathd:" && tail -n 80 /var/log/multipathd.log
    echo "the kernel:" && dmesg | tail -n 80
}

# Says on standard output why the case failed; nothing when it passed.
run_case() { # NAME LIMIT
    local case watch first code
    setsid "/lab/$1.sh" </dev/null >&3 2>&3 &
    case=$!
    sleep "$2" &
    watch=$!
    wait -n -p first "$case" "$watch"
    code=$?
    if [ "$first" = "$watch" ]; then
        ps -eo pid,ppid,stat,wchan:24,args >&3
        echo "still running after $2 s"
    elif [ "$code" != 0 ]; then
        echo "exit code $code"
    fi
    # All that it started goes with it; what hangs in the kernel is not waited for.
    kill -KILL -- "-$case" "$watch" 2>/dev/null
}

exec 3>&1
for word in "$@"; do
    name=${word%=*}
    began=$((${EPOCHREALTIME/./} / 1000))
    mark "begin $name"
    rm -f /run/lab-leftovers
    # What an earlier case has put there, its connections among them, is not this one's.
    rm -rf --one-file-system /tmp/*
    : >/var/log/multipathd.log
    dmesg --clear
    if ! lab clean; then
        end_case "$began" "the initiator cannot be cleaned before it"
        exit 1
    fi
    why=$(run_case "$name" "${word#*=}")
    lab leftovers >/run/lab-leftovers || why="${why:+$why, and }something is left behind"
    [ -n "$why" ] && echo "left: $(jq -c 'map_values(length) | with_entries(select(.value > 0))' /run/lab-leftovers)"
    lab heal
    end_case "$began" "$why"
    # Who knows what it has left half done: the rest get a fresh guest.
    [ -z "$why" ] || exit 1
done
