#!/usr/bin/env bash
# whereabouts 0.9.2 announces the CNI versions that have CHECK, and answers every CHECK with an error.
set -euo pipefail

version=v0.9.2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Its go.mod has a replacement, which `go install` refuses.
module=github.com/k8snetworkplumbingwg/whereabouts@$version
source=$(cd "$work" && go mod download -json "$module" | sed -n 's/.*"Dir": "\(.*\)",/\1/p')
(cd "$source" && CGO_ENABLED=0 go build -mod=mod -trimpath -o "$work/whereabouts" ./cmd)

versions=$(CNI_COMMAND=VERSION "$work/whereabouts" <<<'{"cniVersion": "1.0.0"}')
echo "whereabouts $version announces $versions"
conf='{"cniVersion": "1.0.0", "name": "net", "type": "bridge", "prevResult": {"cniVersion": "1.0.0"},
    "ipam": {"type": "whereabouts", "range": "10.9.0.0/24"}}'
if answer=$(CNI_COMMAND=CHECK CNI_CONTAINERID=pod CNI_NETNS=/proc/self/ns/net CNI_IFNAME=eth0 CNI_PATH=$work \
    "$work/whereabouts" <<<"$conf"); then
    echo "CHANGED: CHECK succeeds"
    exit 1
fi
echo "whereabouts $version, CHECK: $(tr -d '\n' <<<"$answer")"
[[ $versions == *'"1.0.0"'* && $answer == *"not implemented"* ]] || {
    echo "CHANGED"
    exit 1
}
