#!/usr/bin/env bash
# The first process under user-mode Linux, started by run.sh with `work`, the folder of what goes in and out: `job` in,
# `log`, `lacking` and `status` out. The files are those of the machine; what belongs to this kernel lies over them.
set -euo pipefail

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec </dev/null >>"${work:?}/log" 2>&1

# The end of the first process is a panic, so it waits for the machine to be off.
end() {
    echo $? >"$work/status.new"
    mv "$work/status.new" "$work/status"
    sync
    echo o >/proc/sysrq-trigger
    sleep infinity
}
trap end EXIT

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/tmp /run/modules/lib
# Not /tmp: tests of the machine itself have folders and sockets there.
export TMPDIR=/run/tmp

# shellcheck source=/dev/null
source "$work/job"

# The kernel loads what is asked for by its alias: kinds of links, queueing disciplines, parts of packet filters.
ln -s "${modules:?}" /run/modules/lib/modules
printf '#!/bin/sh\nexec modprobe -d /run/modules "$@"\n' >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
modprobe -d /run/modules --all ipv6 tun
ip link set lo up

run
