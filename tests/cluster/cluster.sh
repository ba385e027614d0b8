#!/usr/bin/env bash
# A cluster of one node, in namespaces and a folder of its own: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and on the
# node containerd with runc, kubelet, kube-proxy and CoreDNS; bridge and host-local are the primary network.
#
#   cluster.sh start             starts it; kubeconfig in CLUSTER_DIR
#   cluster.sh stop              ends it, and removes its folder and everything that it has on the machine
#   cluster.sh power-off | boot  the node alone: without processes, mounts, network interfaces and /run; and on again
#   cluster.sh import ARCHIVE…   images for the node
#   cluster.sh run PROGRAM…      runs a program on the node, with the node's files, processes and network
#
# CLUSTER_DIR    its folder (target/cluster)
# CLUSTER_NAME   of its network namespace and control groups (meta-cni-cluster)
# E2E_TOOLS_DIR  what tests/tools/install.sh cluster built (target/tools)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
workspace=$(cd "$here/../.." && pwd)
tools=$(realpath -m "${E2E_TOOLS_DIR:-$workspace/target/tools}")
dir=$(realpath -m "${CLUSTER_DIR:-$workspace/target/cluster}")
name=${CLUSTER_NAME:-meta-cni-cluster}
node='node-1'
logs=$dir/logs
PATH=${KUBEBUILDER_ASSETS:+$KUBEBUILDER_ASSETS:}$PATH:$tools:$tools/bin
# What stands before a program that is to run in a place of the cluster's.
how=()
sandbox_image=cluster.invalid/busybox:1

# shellcheck source=tests/cluster/control.sh
. "$here/control.sh"
# shellcheck source=tests/cluster/node.sh
. "$here/node.sh"

say() { printf '%s\n' "cluster: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

# launch NAME COMMAND…: starts a program that outlives this script, without what this script holds open.
launch() {
    local how=(exec setsid)
    "${@:2}" </dev/null >>"$logs/$1.log" 2>&1 &
    disown
}

# wait_for NAME COMMAND…: until the command succeeds; NAME is that of the log that shows why it does not.
wait_for() {
    local deadline=$((SECONDS + 180))
    until "${@:2}" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || fail "$1 does not serve after three minutes; $logs/$1.log ends with:
$(tail -n 5 "$logs/$1.log" 2>/dev/null)"
        sleep 0.2
    done
}

kubectl() { command kubectl --kubeconfig "$dir/kubeconfig" "$@"; }

# check_machine: that everything is there, before anything is made.
check_machine() {
    ((EUID == 0)) || fail "run it as root: it makes namespaces"
    local program
    for program in kubelet kube-controller-manager kube-scheduler kube-proxy coredns; do
        [[ -x $tools/cluster/$program ]] || fail "$tools/cluster/$program is missing: run tests/tools/install.sh cluster"
    done
    for program in openssl ip nsenter unshare nft kubectl etcd kube-apiserver; do
        command -v "$program" >/dev/null || fail "$program is missing: run tests/tools/install.sh packages apiserver kubectl"
    done
    # The node has folders of its own there.
    for program in "$dir" "$tools"; do
        [[ $program != /@(etc|opt|run|var)/* ]] || fail "$program is below a folder that the node hides: set CLUSTER_DIR, E2E_TOOLS_DIR"
    done
}

# connect: the network of the cluster, joined to the machine by a veth; it has the first free network of 198.18.0.0/18.
connect() {
    local number
    ip netns add "$name"
    for number in {0..63} none; do
        [[ $number != none ]] || fail "no network of 198.18.0.0/18 is free: ip link show type veth"
        ip link add "mcni$number" type veth peer name uplink netns "$name" 2>/dev/null && break
    done
    printf '%s\n' "$number" >"$dir/number"
    ip address add "198.18.$number.1/30" dev "mcni$number"
    ip -6 address add "fd00:198:18:$number::1/64" dev "mcni$number" nodad 2>/dev/null || true
    ip link set "mcni$number" up
    inside sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0
    ip -n "$name" link set lo up
    ip -n "$name" link set uplink up
    ip -n "$name" address add "$(node_ip)/30" dev uplink
    ip -n "$name" address add "$(node_ip6)/64" dev uplink nodad
    ip -n "$name" route add default via "198.18.$number.1"
    ip -n "$name" -6 route add default via "fd00:198:18:$number::1"
}

node_ip() { printf '198.18.%d.2' "$(<"$dir/number")"; }
node_ip6() { printf 'fd00:198:18:%d::2' "$(<"$dir/number")"; }

# inside PROGRAM…: in the cluster's network and folder.
inside() { "${how[@]}" nsenter "--net=/run/netns/$name" "--wd=$dir" "$@"; }

start() {
    check_machine
    if is_running; then
        say "it runs already; its kubeconfig is $dir/kubeconfig"
        return
    fi
    stop
    mkdir -p "$logs"
    connect
    start_control
    make_node
    boot
}

is_running() { [[ -e $dir/started && -n $(init_pid) ]] && kubectl get --raw=/readyz >/dev/null 2>&1; }

stop() {
    if [[ -e /run/netns/$name ]]; then
        while pids=$(ip netns pids "$name") && [[ -n $pids ]]; do
            # shellcheck disable=SC2086 # One word a process.
            kill -KILL $pids 2>/dev/null || true
            sleep 0.1
        done
        ip netns delete "$name"
    fi
    remove_groups
    rm -rf "$dir"
}

case ${1:-} in
start | stop | power_off | boot) "$1" ;;
power-off) power_off ;;
import | run) "$@" ;;
*) fail "usage: cluster.sh start | stop | power-off | boot | import ARCHIVE… | run PROGRAM…" ;;
esac
