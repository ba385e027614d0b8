#!/usr/bin/env bash
# The host's end of a pair that bridge and ptp make has a transmit queue of 0 packets, the pod's end one of 1000: their
# library sends 0 for the other end of a pair unless it is set. `ip link add` makes both with 1000.
set -euo pipefail

if [[ ${1-} != isolated ]]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for plugin in main/bridge main/ptp ipam/host-local; do
        GOBIN=$work GOFLAGS=-trimpath CGO_ENABLED=0 \
            go install "github.com/containernetworking/plugins/plugins/$plugin@v1.10.0"
    done
    unshare --net --mount "$0" isolated "$work"
    exit
fi

work=$2
mount -t tmpfs none /run
ip link set lo up

# length [-n NAMESPACE] LINK: the transmit queue of a link in packets; ip leaves a length of 0 out.
length() {
    local shown
    shown=$(ip "${@:1:$#-1}" link show dev "${!#}")
    [[ $shown =~ qlen\ ([0-9]+) ]] && echo "${BASH_REMATCH[1]}" || echo 0
}

wrong=0
# expect WHAT SEEN EXPECTED
expect() {
    if [[ $2 == "$3" ]]; then echo "$1: $2"; else
        echo "$1: CHANGED, not $3: $2"
        wrong=1
    fi
}

for plugin in bridge ptp; do
    ip netns add "$plugin"
    conf='{"cniVersion": "1.0.0", "name": "'$plugin'", "type": "'$plugin'", "ipam": {"type": "host-local",
        "dataDir": "'$work'/leases", "subnet": "10.9.0.0/24"}}'
    CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_NETNS=/run/netns/$plugin CNI_IFNAME=eth0 CNI_PATH=$work \
        "$work/$plugin" <<<"$conf" >/dev/null
    host=$(ip -o link show type veth | sed -n '$s/^[0-9]*: \(veth[0-9a-f]*\)@.*/\1/p')
    expect "$plugin 1.10.0, the host's end" "$(length "$host")" 0
    expect "$plugin 1.10.0, the pod's end" "$(length -n "$plugin" eth0)" 1000
done
ip link add first type veth peer name second
expect "ip link add, either end" "$(length first) $(length second)" "1000 1000"
exit "$wrong"
