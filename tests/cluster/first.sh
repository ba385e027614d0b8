#!/usr/bin/env bash
# `make cluster`: starts a cluster, installs the chart as docs/src/install.md says, and makes the pods of examples/networks. Run
# again, it brings a new image and the chart as it is now into the cluster that runs.
#
#   first.sh           leaves the cluster running; its folder is target/cluster
#   first.sh ARCHIVE   takes this image (target/image/meta-cni.tar)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
archive=${1:-target/image/meta-cni.tar}
tools=$(realpath -m "${E2E_TOOLS_DIR:-target/tools}")
PATH=$PATH:$tools/bin
kubeconfig=${CLUSTER_DIR:-target/cluster}/kubeconfig

say() {
    if [[ -t 1 ]]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi
}
# shown COMMAND…: shows it, and runs it.
shown() {
    printf '  $ %s\n' "$*"
    "$@" 2>&1 | sed 's/^/    /'
}
trap 'printf "cluster: interrupted; \`make cluster\` goes on, \`make cluster-stop\` removes it\n" >&2; exit 130' INT TERM

say "A cluster of one node starts: etcd, kube-apiserver, kubelet, containerd, in namespaces of their own"
"$here/cluster.sh" start
"$here/cluster.sh" import "$archive"
KUBECONFIG=$(realpath "$kubeconfig")
export KUBECONFIG
kubectl apply --filename "$here/volume.yaml" >/dev/null

say "meta-cni is installed"
shown kubectl apply --server-side --force-conflicts --filename crds/yaml
# The image may be another one under the same name: then the pods are made anew.
image=$(sha256sum <"$archive" | cut -c 1-16)
{
    printf 'agent: {podAnnotations: {image: "%s"}}\nipamServer:\n' "$image"
    sed 's/^/  /' examples/pools.yaml
} >"${KUBECONFIG%/*}/values.yaml"
shown helm upgrade --install meta-cni deploy/chart --namespace kube-system --values "${KUBECONFIG%/*}/values.yaml" \
    --wait --timeout 5m --hide-notes

say "Two networks, two pools, two pods with three interfaces each"
shown kubectl apply --filename "$here/policy.yaml" --filename examples/networks/storage.yaml --filename examples/networks/telemetry.yaml
sed -e '/^  uid:/d' -e 's|image: busybox|image: cluster.invalid/busybox:1|' examples/networks/pods.yaml | kubectl apply --filename - | sed 's/^/    /'
shown kubectl wait --for=condition=Ready --timeout=2m pod/sensor pod/archive || {
    kubectl get events --field-selector type=Warning --sort-by=.lastTimestamp | tail -n 5
    exit 1
}
shown kubectl exec sensor -- ip -o address show scope global

say "The cluster runs. It is yours:"
cat <<END
  export KUBECONFIG=$KUBECONFIG
  kubectl get pods --all-namespaces
  helm --namespace kube-system test meta-cni
  kubectl describe pod sensor                  # what a pod's networks are, or why it does not start

  tests/cluster/cluster.sh run sh              # a shell on the node
  make cluster                                 # again: what you changed
  make cluster-stop                            # ends and removes it
END
command -v helm kubectl >/dev/null || printf "  export PATH=\$PATH:%s/bin\n" "$tools"
