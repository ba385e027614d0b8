#!/usr/bin/env bash
# Applies what the chart makes of every file of ci/, the manifests of deploy/ and both kustomizations to a real kube-apiserver, which
# validates each field; then installs, upgrades and uninstalls the chart there. Kinds of others (Prometheus, cert-manager) are known to it by their names alone.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
tools=$(realpath "${E2E_TOOLS_DIR:-../../target/tools}")
helm=${HELM:-$tools/bin/helm}
[[ -x $helm ]] || helm=helm
assets=${KUBEBUILDER_ASSETS:-$tools}
etcd=$assets/etcd
[[ -x $etcd ]] || etcd=etcd
work=$(mktemp -d)
export KUBECONFIG=$work/kubeconfig
started=()
finish() {
    # Nothing of theirs is kept, and an API server without etcd takes minutes to end by itself.
    { ((${#started[@]} == 0)) || kill -KILL "${started[@]}" && wait; } 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
fail() {
    printf 'validate.sh: %s\n' "$*" >&2
    exit 1
}

# wait_for WHAT COMMAND…: until the command succeeds; a program that was started must live meanwhile.
wait_for() {
    local deadline=$((SECONDS + 120)) pid
    until "${@:2}" >/dev/null 2>&1; do
        for pid in "${started[@]}"; do
            kill -0 "$pid" 2>/dev/null || fail "$1: a server ended: $(tail -n 5 "$work"/*.log)"
        done
        ((SECONDS < deadline)) || fail "$1: not within two minutes: $(tail -n 5 "$work"/*.log)"
        sleep 0.2
    done
}

command -v openssl >/dev/null || fail "openssl is missing: apt-get install openssl"
openssl genrsa -out "$work/key.pem" 2048 2>/dev/null
openssl rsa -in "$work/key.pem" -pubout -out "$work/key.pub" 2>/dev/null
printf 'admin,admin,admin,system:masters\n' >"$work/tokens.csv"
(cd "$work" && exec "$etcd" --data-dir=etcd-data --unsafe-no-fsync --listen-client-urls=unix://etcd:0 \
    --advertise-client-urls=unix://etcd:0 --listen-peer-urls=unix://peer:0 --initial-advertise-peer-urls=unix://peer:0 \
    --initial-cluster=default=unix://peer:0) >"$work/etcd.log" 2>&1 &
started+=($!)
port=$((20000 + RANDOM % 12000))
(cd "$work" && exec "$assets/kube-apiserver" --etcd-servers=unix://etcd:0 --cert-dir=certificates --bind-address=127.0.0.1 \
    --advertise-address=127.0.0.1 --secure-port=$port --service-cluster-ip-range=10.0.0.0/24 --authorization-mode=RBAC \
    --token-auth-file=tokens.csv --service-account-issuer=https://validate.invalid --service-account-signing-key-file=key.pem \
    --service-account-key-file=key.pub --disable-admission-plugins=ServiceAccount) >"$work/apiserver.log" 2>&1 &
started+=($!)
cat >"$KUBECONFIG" <<END
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:$port", certificate-authority: "$work/certificates/apiserver.crt"}}]
users: [{name: u, user: {token: admin}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
END
wait_for "the API server" kubectl get --raw=/readyz

# kind_of GROUP VERSION KIND PLURAL: makes a kind of others known.
kind_of() {
    kubectl apply --server-side --filename - >/dev/null <<END
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: $4.$1}
spec:
  group: $1
  scope: Namespaced
  names: {kind: $3, plural: $4}
  versions:
  - name: $2
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
END
}
kubectl apply --server-side --filename ../../crds/yaml >/dev/null
kind_of monitoring.coreos.com v1 ServiceMonitor servicemonitors
kind_of monitoring.coreos.com v1 PodMonitor podmonitors
kind_of monitoring.coreos.com v1 PrometheusRule prometheusrules
kind_of cert-manager.io v1 Certificate certificates
kubectl wait --for=condition=Established --timeout=60s crd --all >/dev/null

applied=0
# apply FILE WHAT: each field is known to the API server, and valid.
apply() {
    kubectl apply --server-side --force-conflicts --validate=strict --filename "$1" >/dev/null || fail "$2"
    applied=$((applied + 1))
}
for values in ci/*.yaml; do
    name=$(basename "$values" .yaml)
    kubectl create namespace "$name" >/dev/null
    "$helm" template meta-cni . --namespace "$name" --values "$values" >"$work/rendered.yaml"
    apply "$work/rendered.yaml" "$values"
done
wait_for "kube-system" kubectl get namespace kube-system
for file in rbac agent-rbac admission agent ipam-server; do apply "../$file.yaml" "$file.yaml"; done
for base in base ipam; do
    kubectl kustomize "../kustomize/$base" >"$work/rendered.yaml"
    apply "$work/rendered.yaml" "kustomize/$base"
done

# The certificate that Helm makes stays the same in upgrades; renewed, agents trust the authority from before, too.
kubectl delete --filename "$work/rendered.yaml" --wait=false >/dev/null
kubectl delete validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings \
    meta-cnid meta-cni ipam-server meta-cni-own-pods meta-cni-network-status meta-cni-networks --ignore-not-found >/dev/null
kubectl create namespace installed >/dev/null
certificate() { kubectl --namespace installed get secret ipam-server-tls -o jsonpath='{.data.tls\.crt}'; }
authorities() { kubectl --namespace installed get configmap ipam-server-ca -o jsonpath='{.data.ca\.crt}'; }
release() { "$helm" "$1" meta-cni . --namespace installed "${@:2}" >/dev/null || fail "helm $*"; }
release install
made=$(certificate)
release upgrade --set agent.logLevel=debug
[[ $(certificate) == "$made" ]] || fail "an upgrade made another certificate"
release upgrade --set ipamServer.tls.renew=true
[[ $(certificate) != "$made" ]] || fail "the certificate is not renewed"
[[ $(authorities | grep -c 'BEGIN CERTIFICATE') == 2 ]] || fail "agents do not trust the authority from before: $(authorities)"
base64 -d <<<"$made" >"$work/before.crt"
certificate | base64 -d >"$work/after.crt"
authorities >"$work/ca.crt"
for file in before after; do
    openssl verify -CAfile "$work/ca.crt" "$work/$file.crt" >/dev/null || fail "$file.crt is not of ca.crt"
    openssl x509 -in "$work/$file.crt" -noout -checkhost ipam-server.installed.svc | grep -q 'does match' || fail "$file.crt has another name"
done
# Leases on a volume are not left for an etcd that has none of them.
refused=$("$helm" upgrade meta-cni . --namespace installed --values ci/etcd.yaml 2>&1 >/dev/null) && fail "leases on a volume are left alone"
[[ $refused == *'Move a store'* ]] || fail "helm upgrade to etcd: $refused"
kubectl --namespace installed delete statefulset ipam-server >/dev/null
release upgrade --values ci/etcd.yaml
"$helm" uninstall meta-cni --namespace installed >/dev/null || fail "helm uninstall"
printf 'chart: the API server took %d sets of manifests\n' "$applied"
