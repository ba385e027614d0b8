#!/usr/bin/env bash
# Checks the chart: every file of ci/ is rendered, every file of ci/refused/ is refused with the words that it names, the manifests of
# deploy/ are what the chart makes, and the patch for leases makes of the agent what the chart makes with leases.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
helm=${HELM:-../../target/tools/bin/helm}
[[ -x $helm ]] || helm=helm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    printf 'chart: %s\n' "$*" >&2
    exit 1
}

"$helm" lint --strict --quiet . || fail "helm lint"
rendered=0
for values in ci/*.yaml; do
    name=$(basename "$values" .yaml)
    "$helm" template meta-cni . --namespace networks --values "$values" >"$work/$name.yaml" || fail "$values is refused"
    # Everything is in the namespace of the release, and accounts are named with it.
    if grep -n 'kube-system' "$work/$name.yaml"; then fail "$values: kube-system, which is not the namespace of the release"; fi
    grep -q '^kind: DaemonSet$' "$work/$name.yaml" || fail "$values makes no agent"
    rendered=$((rendered + 1))
done

# has VALUES WORD: what a file of ci/ must make.
has() { grep -qF -- "$2" "$work/$1.yaml" || fail "ci/$1.yaml makes no $2"; }
lacks() { if grep -qF -- "$2" "$work/$1.yaml"; then fail "ci/$1.yaml makes $2"; fi; }
has defaults '--conf-dir=/etc/cni/net.d'
has defaults '--ipam-server=https://ipam-server.networks.svc:7443'
has defaults 'kind: PodDisruptionBudget'
lacks agent-only 'name: installer'
lacks agent-only '--ipam-server'
lacks agent-only 'kind: StatefulSet'
has etcd 'kind: Deployment'
has etcd '--store=etcd://etcd-0.etcd.storage.svc:2379,etcd-1.etcd.storage.svc:2379,etcd-2.etcd.storage.svc:2379/meta-cni.io/ipam'
lacks etcd 'volumeClaimTemplates'
has k3s 'path: /var/lib/rancher/k3s/agent/etc/cni/net.d'
has rke2-cert-manager 'kind: Certificate'
lacks rke2-cert-manager 'tls.key:'
has microk8s 'path: /var/snap/microk8s/common/var/lib/kubelet/pod-resources'
has openshift '/host/run/multus/cni/net.d'
has openshift 'spc_t'
has openshift "'system:serviceaccount:openshift-multus:multus'"
has talos-digest 'meta-cni@sha256:'
has monitored 'kind: PrometheusRule'
has monitored 'grafana_dashboard'
has external-server '--ipam-server=https://ipam.example:7443'
has settings-and-pools 'namespaceIsolation: true'
has settings-and-pools '--pools=/etc/ipam-server/pools/pools.yaml'
has tainted '--untaint-once=/host/etc/cni/net.d/00-meta-cni.conflist'
has tainted 'name: meta-cni-own-node'
lacks defaults 'own-node'
has uninstall '- uninstall'
lacks uninstall '- --watch'

refused=0
for values in ci/refused/*.yaml; do
    expected=$(sed -n '1s/^# expected: //p' "$values")
    [[ -n $expected ]] || fail "$values does not say what is expected"
    if "$helm" template meta-cni . --values "$values" >"$work/out" 2>"$work/error"; then fail "$values is not refused"; fi
    grep -qF -- "$expected" "$work/error" || fail "$values is refused otherwise: $(<"$work/error")"
    refused=$((refused + 1))
done

if "$helm" template meta-cni . --kube-version 1.31.9 >"$work/out" 2>"$work/error"; then fail "Kubernetes 1.31 is not refused"; fi
grep -qF 'the policies of admission need 1.32' "$work/error" || fail "$(<"$work/error")"
"$helm" template meta-cni . --kube-version 1.31.9 --set admission.enabled=false >"$work/out"

../manifests.sh check
./readme.sh check
jq -e '.panels | length > 0 and all(.targets | length > 0)' dashboards/meta-cni.json >/dev/null || fail "the dashboard"

# With the patch, the agent is the same as the chart's with leases.
object() { kubectl patch --local --filename "$1" --type merge --patch '{}' --output json | jq --sort-keys \
    '.spec.template.spec.volumes |= sort_by(.name) | .spec.template.spec.containers[].volumeMounts |= sort_by(.name)'; }
"$helm" template meta-cni . --namespace kube-system --values plain.yaml --show-only templates/agent.yaml >"$work/with.yaml"
kubectl patch --local --filename ../agent.yaml --patch-file ../agent-ipam-patch.yaml --output yaml >"$work/patched.yaml"
diff <(object "$work/with.yaml") <(object "$work/patched.yaml") ||
    fail "agent.yaml with agent-ipam-patch.yaml is not the chart's agent with leases"
for base in base ipam; do
    kubectl kustomize "../kustomize/$base" >"$work/kustomized.yaml" || fail "kustomize/$base"
    grep -q 'name: installer' "$work/kustomized.yaml" || fail "kustomize/$base installs nothing"
done
[[ $(grep -c 'name: ipam-token' "$work/kustomized.yaml") == 2 ]] || fail "kustomize/ipam: the agents show no token"
printf 'chart: %d files of values rendered, %d refused\n' "$rendered" "$refused"
