# Part of cluster.sh: what the cluster is ruled by. etcd listens on a Unix socket, the API server on the node's address.
# shellcheck shell=bash disable=SC2154

service_networks=10.96.0.0/16,fd00:96::/112

start_control() {
    write_credentials
    launch etcd inside etcd --data-dir=etcd --unsafe-no-fsync --listen-client-urls=unix://etcd:0 \
        --advertise-client-urls=unix://etcd:0 --listen-peer-urls=unix://peer:0 --initial-advertise-peer-urls=unix://peer:0 \
        --initial-cluster=default=unix://peer:0
    start_apiserver
    launch kube-controller-manager inside "$tools/cluster/kube-controller-manager" --kubeconfig=controller-manager.kubeconfig \
        --service-account-private-key-file=service-account.key --root-ca-file=certificates/apiserver.crt --use-service-account-credentials \
        --leader-elect=false --bind-address=127.0.0.1
    launch kube-scheduler inside "$tools/cluster/kube-scheduler" --kubeconfig=scheduler.kubeconfig --leader-elect=false \
        --bind-address=127.0.0.1
    wait_for kube-controller-manager kubectl --namespace default get serviceaccount default
}

start_apiserver() {
    launch kube-apiserver inside kube-apiserver --etcd-servers=unix://etcd:0 --cert-dir=certificates \
        --bind-address="$(node_ip)" --advertise-address="$(node_ip)" --secure-port=6443 --allow-privileged \
        --service-cluster-ip-range=$service_networks --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
        --token-auth-file=tokens.csv --service-account-issuer=https://kubernetes.default.svc \
        --service-account-signing-key-file=service-account.key --service-account-key-file=service-account.pub \
        --kubelet-client-certificate=kubelet-client.crt --kubelet-client-key=kubelet-client.key \
        --kubelet-preferred-address-types=InternalIP
    wait_for kube-apiserver kubectl get --raw=/readyz
}

write_credentials() {
    local user groups
    (
        umask 077
        cd "$dir"
        openssl genrsa -out service-account.key 2048
        openssl rsa -in service-account.key -pubout -out service-account.pub
        # The API server shows the kubelet a certificate.
        openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=cluster -keyout ca.key -out ca.crt
        openssl req -newkey rsa:2048 -nodes -subj /O=system:masters/CN=kube-apiserver -keyout kubelet-client.key -out kubelet-client.csr
        openssl x509 -req -in kubelet-client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out kubelet-client.crt
    ) 2>/dev/null || fail "openssl could not make keys in $dir"
    while read -r file user groups; do
        credentials "$file" "$user" "$groups"
    done <<END
kubeconfig admin system:masters
controller-manager.kubeconfig system:kube-controller-manager
scheduler.kubeconfig system:kube-scheduler
proxy.kubeconfig system:kube-proxy
kubelet.kubeconfig system:node:$node system:nodes
END
}

# credentials FILE USER [GROUP]: a token of this user.
credentials() {
    local token
    token=$(openssl rand -hex 16)
    (
        umask 077
        printf '%s,%s,%s,"%s"\n' "$token" "$2" "$2" "$3" >>"$dir/tokens.csv"
        cat >"$dir/$1" <<END
apiVersion: v1
kind: Config
clusters: [{name: $name, cluster: {server: "https://$(node_ip):6443", certificate-authority: "$dir/certificates/apiserver.crt"}}]
users: [{name: "$2", user: {token: $token}}]
contexts: [{name: $name, context: {cluster: $name, user: "$2"}}]
current-context: $name
END
    )
}
