#!/bin/sh
# Run on the finished root folder ($1), outside of it: what the packages do not leave as the guest wants it.
set -eu
root=$1
mkdir -p "$root/opt/lab" "$root/lab" "$root/out"
echo lab >"$root/etc/hostname"
printf '127.0.0.1 localhost lab\n' >"$root/etc/hosts"
# Kernel and initrd are given to QEMU from outside; the guest needs its modules only.
rm -rf "$root"/boot/initrd.img* "$root"/boot/System.map* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
