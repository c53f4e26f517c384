#!/bin/bash
# Few external programs are started: by connect one for each portal and one for the target (and one more where multipath has no wwids
# file yet), by disconnect one for each portal. The helper starts none.
# lab: --backend one-iqn --portals 4 --volumes 64
# proves: C6 D6 D13
# limit: 180s
. /lab/lib.sh

traced() { # VERB CONNECTION [OPTION]…
    step "$1 under strace"
    strace -f -qq -o /tmp/trace -e trace=execve,fork,vfork,clone,clone3,ioctl \
        bowline "$@" --json --progress none >"$answer" || fail "$1: $(cat "$answer")"
    # Every successful execve: process, its parent, program. A line may be cut in two, so names and results
    # are joined by process first.
    awk '
        { pid = $1 }
        /execve\("/ { split($0, part, "\""); program[pid] = part[2] }
        /execve.* = 0$/ { sub(".*/", "", program[pid]); started[++count] = pid " " program[pid] }
        /(fork|vfork|clone3?).* = [0-9]+$/ { parent[$NF] = pid }
        END { for (i = 1; i <= count; i++) { split(started[i], word, " "); print word[1], parent[word[1]] + 0, word[2] } }
    ' /tmp/trace >/tmp/started
    cat /tmp/started
    [ "$(grep -c ' bowline$' /tmp/started)" = 1 ] || fail "the trace does not show the command itself"
}

# The kernel and udev have asked the device already: bowline and its helper send no SCSI command of their own (C6).
no_scsi_command() {
    grep -q 'ioctl(.*DM_' /tmp/trace || fail "the trace shows no request"
    ! grep -E 'SG_IO|SCSI_IOCTL' /tmp/trace || fail "SCSI commands are sent"
}

# What was started that is not of bowline's own.
external() { grep -cvE ' (bowline|bowline-helper)$' /tmp/started; }

helper_starts_nothing() {
    awk '
        $3 == "bowline-helper" { helper[$1] = 1 }
        { parent[$1] = $2; program[$1] = program[$1] " " $3 }
        END { for (pid in program) if (!(pid in helper)) for (up = parent[pid]; up; up = parent[up])
            if (up in helper) { print program[pid], "was started below the helper"; bad = 1 }
            exit bad }
    ' /tmp/started || fail "the helper starts programs"
    awk '$3 == "bowline-helper" { helper[$1] = 1; next } $1 in helper { exit 1 }' /tmp/started || fail "the helper becomes another program"
    grep -q ' bowline-helper$' /tmp/started || fail "the trace does not show the helper"
}

made=5
[ -e /etc/multipath/wwids ] || made=6
traced connect "$(connection 1)" --min-paths 4
expect_json '([.paths[] | select(.state == "active")] | length) == 4'
[ "$(external)" = "$made" ] || fail "expected $made programs, saw $(external)"
[ "$(grep -c ' iscsiadm$' /tmp/started)" = 5 ] || fail "expected iscsiadm once a portal, and once for the first record"
helper_starts_nothing
no_scsi_command

traced disconnect "$(connection 1)"
[ "$(external)" = 4 ] || fail "expected 1 program a portal, saw $(external)"
[ "$(grep -c ' iscsiadm$' /tmp/started)" = 4 ] || fail "expected iscsiadm once a portal"
helper_starts_nothing
no_scsi_command
