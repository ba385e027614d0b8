#!/usr/bin/env bash
# bridge with isDefaultGateway and an IPAM whose default route names no gateway: ADD fails with "file exists", since the
# plugin adds a default route of its own beside. With the gateway named, it does not. After that failure and its DEL, the
# next ADD on the new bridge fails with "could not set bridge's mac" up to 1.9.1.
set -euo pipefail

if [[ ${1-} != isolated ]]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for version in 1.9.1 1.10.0; do
        for plugin in main/bridge ipam/host-local; do
            GOBIN=$work/$version GOFLAGS=-trimpath CGO_ENABLED=0 \
                go install "github.com/containernetworking/plugins/plugins/$plugin@v$version"
        done
    done
    unshare --net --mount "$0" isolated "$work"
    exit
fi

work=$2
mount -t tmpfs none /run
ip link set lo up

# run VERB VERSION POD BRIDGE ROUTES: the message of the plugin's error, or "attached".
run() {
    [[ -e /run/netns/$3 ]] || ip netns add "$3"
    local conf answer
    conf='{"cniVersion": "1.0.0", "name": "'$4'", "type": "bridge", "bridge": "'$4'", "isDefaultGateway": true,
        "ipam": {"type": "host-local", "dataDir": "'$work'/leases",
            "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00:9::/64"}]], "routes": ['$5']}}'
    if answer=$(CNI_COMMAND=$1 CNI_CONTAINERID=$3 CNI_NETNS=/run/netns/$3 CNI_IFNAME=eth0 CNI_PATH=$work/$2 \
        "$work/$2/bridge" <<<"$conf"); then
        echo attached
    else
        tr '\n' ' ' <<<"$answer" | sed 's/.*"msg": "\(.*\)".*/\1/'
    fi
}

wrong=0
# expect WHAT SEEN PATTERN
expect() {
    if [[ $2 == *$3* ]]; then echo "$1: $2"; else
        echo "$1: CHANGED, not *$3*: $2"
        wrong=1
    fi
}

number=0
for version in 1.9.1 1.10.0; do
    number=$((number + 1))
    without='{"dst": "0.0.0.0/0"}, {"dst": "::/0"}'
    with='{"dst": "0.0.0.0/0", "gw": "10.9.0.1"}, {"dst": "::/0", "gw": "fd00:9::1"}'
    expect "bridge $version, routes without gw" "$(run ADD $version "first$number" "br$number" "$without")" "file exists"
    run DEL $version "first$number" "br$number" "$without" >/dev/null
    second=$(run ADD $version "second$number" "br$number" "$with")
    if [[ $version == 1.9.1 ]]; then
        expect "bridge $version, the next ADD on that bridge" "$second" "could not set bridge's mac"
    else
        expect "bridge $version, the next ADD on that bridge" "$second" "attached"
    fi
    expect "bridge $version, routes with gw, a new bridge" "$(run ADD $version "third$number" "new$number" "$with")" "attached"
done
exit $wrong
