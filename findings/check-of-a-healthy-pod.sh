#!/usr/bin/env bash
# bridge behind sbr or vrf (1.10.0): CHECK of the list fails right after its ADD, nothing having changed, since the later
# plugin moved the routes that the first plugin checks. CRI-O's ocicni asks CHECK after every ADD.
set -euo pipefail

version=v1.10.0
if [[ ${1-} != isolated ]]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for plugin in main/bridge ipam/host-local meta/sbr meta/vrf; do
        GOBIN=$work GOFLAGS=-trimpath CGO_ENABLED=0 \
            go install "github.com/containernetworking/plugins/plugins/$plugin@$version"
    done
    unshare --net --mount "$0" isolated "$work"
    exit
fi

work=$2
mount -t tmpfs none /run
ip link set lo up

# run VERB PLUGIN POD CONFIGURATION: executes a plugin as a runtime does.
run() {
    CNI_COMMAND=$1 CNI_CONTAINERID=$3 CNI_NETNS=/run/netns/$3 CNI_IFNAME=eth0 CNI_PATH=$work "$work/$2" <<<"$4"
}

# check_after_add PLUGIN KEYS: ADD and CHECK of bridge with PLUGIN behind it.
check_after_add() {
    local pod=pod-$1 bridge second first all answer
    ip netns add "$pod"
    bridge='"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipam": {"type": "host-local", "dataDir": "'$work/leases'", "ranges": [[{"subnet": "10.9.0.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}'
    second='"cniVersion": "1.0.0", "name": "net", "type": "'$1'"'$2
    first=$(run ADD bridge "$pod" "{$bridge}")
    all=$(run ADD "$1" "$pod" "{$second, \"prevResult\": $first}" 2>/dev/null)
    if answer=$(run CHECK bridge "$pod" "{$bridge, \"prevResult\": $all}"); then
        echo "bridge behind which $1 came, $version: CHANGED, its CHECK succeeds"
        wrong=1
    else
        echo "bridge behind which $1 came, $version: CHECK after ADD: $(tr -d '\n' <<<"$answer")"
    fi
}

wrong=0
check_after_add sbr ''
if ip link add probe type vrf table 1000 2>/dev/null; then
    check_after_add vrf ', "vrfname": "red"'
else
    echo "vrf: not tried, this kernel has no vrf"
fi
exit $wrong
