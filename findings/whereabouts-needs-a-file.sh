#!/usr/bin/env bash
# whereabouts 0.9.2 refuses an ADD whose configuration says everything, API server included, unless a file of its own exists, which
# may be as empty as {}. "config file not found" names neither the file nor the places where it is searched.
set -euo pipefail

version=v0.9.2
if [[ ${1-} != isolated ]]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # Its go.mod has a replacement, which `go install` refuses.
    module=github.com/k8snetworkplumbingwg/whereabouts@$version
    source=$(cd "$work" && go mod download -json "$module" | sed -n 's/.*"Dir": "\(.*\)",/\1/p')
    (cd "$source" && CGO_ENABLED=0 go build -mod=mod -trimpath -o "$work/whereabouts" ./cmd)
    unshare --net --mount "$0" isolated "$work"
    exit
fi

work=$2
# No file of the machine's own.
mount -t tmpfs none /etc
ip link set lo up
cat >"$work/kubeconfig" <<'END'
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
END

# answer KEYS: of an ADD with these keys more, in five seconds at most.
answer() {
    CNI_COMMAND=ADD CNI_CONTAINERID=pod CNI_NETNS=/proc/self/ns/net CNI_IFNAME=eth0 CNI_PATH=$work \
        CNI_ARGS='K8S_POD_NAMESPACE=default;K8S_POD_NAME=web' timeout 5 "$work/whereabouts" 2>&1 <<END || true
{"cniVersion": "1.0.0", "name": "net", "type": "bridge",
 "ipam": {"type": "whereabouts", "range": "10.9.0.0/24", $1 "kubernetes": {"kubeconfig": "$work/kubeconfig"}}}
END
}

without=$(answer '')
printf '{}' >"$work/own.conf"
with=$(answer "\"configuration_path\": \"$work/own.conf\",")
echo "whereabouts $version without a file: $(grep -o '"msg": .*' <<<"$without")"
echo "with a file {}: $(grep -om1 'dial tcp .*' <<<"$with")"
[[ $without == *"config file not found"* && $with == *"127.0.0.1:1"*refused* && $with != *"not found"* ]] || {
    echo "CHANGED"
    exit 1
}
