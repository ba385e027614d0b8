#!/usr/bin/env bash
# bridge without a gateway address (1.10.0): CHECK of a healthy pod fails when another pod of the same bridge has come or gone. A bridge
# has the lowest hardware address of its ports, unless one was set; the plugin sets one with isGateway only, and its CHECK expects
# the one that the bridge had at the pod's ADD. CRI-O's ocicni asks CHECK whenever the kubelet asks for a pod's status.
set -euo pipefail

version=v1.10.0
if [[ ${1-} != isolated ]]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for plugin in main/bridge ipam/host-local; do
        GOBIN=$work GOFLAGS=-trimpath CGO_ENABLED=0 \
            go install "github.com/containernetworking/plugins/plugins/$plugin@$version"
    done
    unshare --net --mount "$0" isolated "$work"
    exit
fi

work=$2
mount -t tmpfs none /run
ip link set lo up
declare -A result

# run VERB POD GATEWAY: executes the plugin as a runtime does; a CHECK and a DEL get the result of the pod's ADD.
run() {
    local conf='"cniVersion": "1.0.0", "name": "net'$3'", "type": "bridge", "bridge": "br'$3'", "isGateway": '$3',
        "ipam": {"type": "host-local", "dataDir": "'$work/leases'", "ranges": [[{"subnet": "10.9.0.0/24"}]]}'
    [[ $1 == ADD ]] || conf+=', "prevResult": '${result[$2]}
    CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 CNI_PATH=$work "$work/bridge" <<<"{$conf}"
}

# failed_checks GATEWAY: of two pods, the first one is checked when the second has come, the second when the first has gone.
failed_checks() {
    local first=first-$1 second=second-$1 failed=0 answer
    for pod in "$first" "$second"; do
        ip netns add "$pod"
        result[$pod]=$(run ADD "$pod" "$1")
    done
    answer=$(run CHECK "$first" "$1") || { failed=1; echo "  the first, with isGateway $1: $(tr -d '\n' <<<"$answer")"; }
    run DEL "$first" "$1"
    answer=$(run CHECK "$second" "$1") || { failed=1; echo "  the second, with isGateway $1: $(tr -d '\n' <<<"$answer")"; }
    return $failed
}

wrong=0
echo "bridge $version, two pods that nothing happened to:"
if failed_checks false; then
    echo "CHANGED: without isGateway, both pass"
    wrong=1
fi
if failed_checks true; then
    echo "  with isGateway, both pass"
else
    echo "CHANGED: with isGateway, one fails, too"
    wrong=1
fi
exit $wrong
