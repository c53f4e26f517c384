#!/bin/sh
# Stands in for systemd-run, for the two uses of it in the guest, where there is no systemd: multipath's udev rule has a
# timer end its wait for siblings of a path (find_multipaths smart, --on-active=SECONDS COMMAND ARGUMENT…), and LVM's
# has a volume group activated, by a process that is not udev's.
set -eu
after=0
while [ $# -gt 0 ]; do
    case $1 in
    --on-active=*) after=${1#*=} ;;
    --description | --property | --timer-property | --unit) shift ;;
    --*) ;;
    *) break ;;
    esac
    shift
done
setsid sh -c 'sleep "$1"; shift; exec "$@"' sh "$after" "$@" </dev/null >/dev/null 2>&1 &
