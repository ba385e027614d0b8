#!/usr/bin/env bash
# Two pods with three interfaces each, made and removed by meta-cni, without a cluster; their addresses are leased
# from an ipam-server, which is killed and started again half way.
#
# Everything happens in namespaces and in a folder of this script's own; both are removed at the end,
# also when it is interrupted. It fails if anything is not as it should be.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${META_CNI_BIN_DIR:?set it to the folder that holds meta-cni (make demo does)}
plugins=${CNI_PLUGINS:-/usr/lib/cni}
node=meta-cni-demo-node
pods=(sensor archive)
work=
server=

say() {
    if [[ -t 1 ]]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi
}
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# Kept whole against a second Ctrl-C: what is left half removed would be in the way of the next run.
clean_up() {
    trap '' INT TERM
    stop_server
    local ns
    for ns in "$node" "${pods[@]/#/meta-cni-demo-}"; do
        if [[ -e /run/netns/$ns ]]; then
            ip netns pids "$ns" | xargs -r kill -9 2>/dev/null || true
            ip netns delete "$ns"
        fi
    done
    [[ -z $work ]] || rm -rf "$work"
}

# start_server: an ipam-server with its store in this run's folder, ready when this returns.
start_server() {
    rm -f "$work/ready"
    "$bin/ipam-server" --listen "unix://$work/ipam.sock" --store-dir "$work/leases" --pools "$here/pools.yaml" \
        --unix-operator --metrics-listen 127.0.0.1:0 --ready-file "$work/ready" --log-level warn 2>>"$work/ipam-server.log" &
    server=$!
    until [[ -e $work/ready ]]; do
        kill -0 "$server" 2>/dev/null || fail "ipam-server ended: $(cat "$work/ipam-server.log")"
        sleep 0.02
    done
}

stop_server() {
    [[ -n $server ]] || return 0
    kill -9 "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}

ipamctl() { "$bin/ipamctl" --server "unix://$work/ipam.sock" "$@"; }

# cni VERB POD: calls meta-cni on the node as a container runtime does.
cni() {
    local verb=$1 pod=$2 index
    index=$([[ $pod == sensor ]] && echo 1 || echo 2)
    ip netns exec "$node" env -i PATH="$PATH" \
        CNI_COMMAND="$verb" CNI_CONTAINERID="demo-$pod" CNI_NETNS="/run/netns/meta-cni-demo-$pod" \
        CNI_IFNAME=eth0 CNI_PATH="$plugins:$bin" \
        CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=$pod;K8S_POD_UID=5e0c7f6e-0000-4000-8000-00000000000$index" \
        "$bin/meta-cni" <"$work/conf.json"
}

prepare() {
    work=$(mktemp -d)
    cp -r "$here/networks" "$work/networks"
    # The server listens in the folder of this run: the node's file says so.
    mkdir -p "$work/conf"
    install -d -m 700 "$work/conf/meta-cni.d"
    install -m 600 /dev/stdin "$work/conf/meta-cni.d/ipam.yaml" <<<"servers: {demo: {address: 'unix://$work/ipam.sock'}}"
    cat >"$work/conf.json" <<CONF
{
  "cniVersion": "1.0.0", "name": "demo", "type": "meta-cni",
  "networksDir": "$work/networks", "stateDir": "$work/state", "cniDir": "$work/multus",
  "confDir": "$work/conf", "binDir": "$plugins",
  "delegates": [{
    "cniVersion": "1.0.0", "name": "pods", "type": "bridge", "bridge": "br-pods", "isGateway": true,
    "ipam": {"type": "meta-ipam", "pool": "pods"}
  }]
}
CONF
    local ns
    for ns in "$node" "${pods[@]/#/meta-cni-demo-}"; do
        ip netns add "$ns"
        # Addresses are usable at once: nobody else can have them in here.
        ip netns exec "$ns" sysctl -qw net.ipv6.conf.default.accept_dad=0
        ip -n "$ns" link set lo up
    done
    ip -n "$node" link add uplink type veth peer name cable
    ip -n "$node" link set uplink up
    ip -n "$node" link set cable up
}

interface_of() { # interface_of POD INDEX
    local names=(eth0 disk metrics)
    [[ $1 != sensor ]] || names=(eth0 net1 net2)
    echo "${names[$2]}"
}

# address_of POD INTERFACE FAMILY
address_of() {
    ip -n "meta-cni-demo-$1" -"$3" -o addr show dev "$2" scope global | awk '{sub("/.*", "", $4); print $4; exit}'
}

ping_all() {
    local from to index family target answer
    for index in 0 1 2; do
        for family in 4 6; do
            for from in "${pods[@]}"; do
                [[ $from == sensor ]] && to=archive || to=sensor
                target=$(address_of "$to" "$(interface_of "$to" "$index")" "$family")
                answer=$(ip netns exec "meta-cni-demo-$from" \
                    ping -n -c 1 -W 5 -I "$(interface_of "$from" "$index")" "$target") ||
                    fail "$from cannot reach $to at $target"
                printf '  %-7s -> %-7s %-7s %-16s %s\n' "$from" "$to" \
                    "$(interface_of "$from" "$index")" "$target" "$(grep -o 'time=.*' <<<"$answer")"
            done
        done
    done
}

nothing_left() {
    local left pod
    # The lock of the releases, the log of operations (meta-cni explain), when old files were last removed, and what the node
    # knows of address services and of networks that lease from them are about no single pod: these files stay.
    left=$(find "$work/state" "$work/multus" -type f ! -name lock ! -name swept ! -name 'operations*.jsonl' ! -path '*/ipam-servers/*' \
        ! -path '*/leasing/*' 2>/dev/null || true)
    for pod in "${pods[@]}"; do
        left+=$(ip -n "meta-cni-demo-$pod" -o link | grep -v ': lo:' || true)
    done
    left+=$(ip -n "$node" -o link | grep -vE ': (lo|br-pods|br-storage|uplink@cable|cable@uplink):' || true)
    left+=$(ipamctl lease list -o json | jq -r '.leases[].ipv4')
    [[ -z $left ]] || fail "left behind: $left"
    printf '  no interface, no lease, no record\n'
}

[[ $EUID == 0 ]] || fail "run as root: network namespaces are made"
command -v jq >/dev/null || fail "jq is not there: install it"
for program in meta-cni meta-ipam ipam-server ipamctl; do
    [[ -x $bin/$program ]] || fail "$bin/$program is not there: run make build"
done
[[ -x $plugins/bridge ]] || fail "$plugins holds no CNI plugins: install containernetworking-plugins, or set CNI_PLUGINS"
clean_up
trap clean_up EXIT
# A second signal must not cut short what the first one began.
trap 'trap "" INT TERM; exit 130' INT TERM
prepare
start_server

say "ADD: each pod gets the default network and the two that its annotation asks for"
for pod in "${pods[@]}"; do
    cni ADD "$pod" >"$work/$pod.result" || fail "ADD of $pod: $(cat "$work/$pod.result")"
    printf '  %s\n' "$pod"
    ip -n "meta-cni-demo-$pod" -br addr | awk '$1 != "lo" {sub("@.*", "", $1); printf "    %-8s %-17s %s\n", $1, $3, $4}'
done

say "ping: every interface, both families, both ways"
ping_all

say "ipamctl lease list, before and after a kill -9 of the server"
ipamctl lease list | sed 's/^/  /'
ipamctl lease list -o json >"$work/before.json"
stop_server
start_server
ipamctl lease list -o json >"$work/after.json"
cmp "$work/before.json" "$work/after.json" || fail "the leases changed"
printf '  killed, started again: the leases are the same\n'

address=$(address_of sensor net1 6)
say "ipamctl whohas $address"
ipamctl whohas "$address" | sed 's/^/  /'

say "network-status of pod sensor, as Kubernetes gets it"
jq -c '.[] | del(.mac, .dns) ' "$work/networks/.status/default_sensor.json" | sed 's/^/  /'

say "the record of pod sensor, which is all that DEL needs"
jq -r '.attachments[] | [.attachment.network, .attachment.ifname,
    ([.attachment.list.plugins[].type] | join("+")), .phase] | @tsv' "$work/state/attachments/demo-sensor.json" |
    while IFS=$'\t' read -r network ifname chain phase; do
        printf '  %-18s %-6s %-16s %s\n' "$network" "$ifname" "$chain" "$phase"
    done

say "CHECK, then DEL with the networks' definitions gone"
for pod in "${pods[@]}"; do
    cni CHECK "$pod" || fail "CHECK of $pod"
done
printf '  CHECK passes\n'
rm -r "$work/networks"
for pod in "${pods[@]}"; do
    cni DEL "$pod" || fail "DEL of $pod"
done
nothing_left
