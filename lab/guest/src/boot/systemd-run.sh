#!/bin/sh
# Stands in for systemd-run, for the one use of it in the guest, where there is no systemd: multipath's udev rule has a
# timer end its wait for siblings of a path (find_multipaths smart). --on-active=SECONDS COMMAND ARGUMENT…
set -eu
after=0
while [ $# -gt 0 ]; do
    case $1 in
    --on-active=*) after=${1#*=} ;;
    --description | --property | --timer-property) shift ;;
    --*) ;;
    *) break ;;
    esac
    shift
done
setsid sh -c 'sleep "$1"; shift; exec "$@"' sh "$after" "$@" </dev/null >/dev/null 2>&1 &
