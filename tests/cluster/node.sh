# Part of cluster.sh: the node. Its processes, mounts, host name and the folders /etc, /opt, /run and /var are its own.
# shellcheck shell=bash disable=SC2154

machine=$dir/node
pod_networks=10.244.0.0/16,fd00:244::/64
# What the kubelet would set for the whole machine: it finds these values, and nothing is written.
tunables=(vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000)
# What programs of the node read.
etc=(alternatives group hosts iproute2 ld.so.cache localtime machine-id nsswitch.conf os-release passwd protocols services ssl)

# The first process of the node: it waits for all others. Its `$0` is the folder of the node.
# shellcheck disable=SC2016
init='set -e
for folder in etc opt run var; do mount --rbind "$0/$folder" "/$folder"; done
(cd "$0/sys"; find . -type f) | while read -r file; do mount --bind "$0/sys/$file" "/proc/sys/$file"; done
hostname "$1"
: >/run/booted
sleep infinity &
wait'

make_node() {
    local entry
    mkdir -p "$machine"/{etc/cni/net.d,opt/cni/bin,run,var/{cache,lib,log,tmp},sys} "$machine/var/lib/volumes/leases"
    ln -s /run "$machine/var/run"
    for entry in "${etc[@]}"; do
        [[ ! -e /etc/$entry ]] || cp --archive "/etc/$entry" "$machine/etc/"
    done
    for entry in "${tunables[@]}"; do
        mkdir -p "$machine/sys/${entry%/*}"
        printf '%s\n' "${entry#*=}" >"$machine/sys/${entry%=*}"
    done
    printf '127.0.0.1 %s\n' "$node" >>"$machine/etc/hosts"
    printf 'nameserver %s\n' "$(node_ip)" >"$machine/etc/resolv.conf"
    cp "$tools"/cni-plugins/{bridge,host-local,loopback,portmap} "$machine/opt/cni/bin/"
    # The volume of ipam-server, whose user has this number.
    chown 65532:65532 "$machine/var/lib/volumes/leases"
    sed -e "s|POD_NETWORK4|${pod_networks%,*}|; s|POD_NETWORK6|${pod_networks#*,}|" "$here/primary.conflist" \
        >"$machine/etc/cni/net.d/10-primary.conflist"
    cat >"$machine/etc/containerd.toml" <<END
version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "$sandbox_image"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "$(snapshotter)"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
END
    cat >"$machine/etc/Corefile" <<END
cluster.local {
    bind $(node_ip)
    errors
    kubernetes cluster.local {
        kubeconfig $dir/kubeconfig $name
    }
}
END
    sed -e "s|NODE_IP|$(node_ip)|; s|CLUSTER_DIR|$dir|; s|GROUP|/$name|" "$here/kubelet.yaml" >"$machine/etc/kubelet.yaml"
}

# snapshotter: overlayfs where the file system of the cluster's folder takes part in it.
snapshotter() {
    local probe=$dir/probe
    mkdir -p "$probe"/{lower,upper,work,merged}
    if unshare --mount mount -t overlay overlay -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" "$probe/merged" 2>/dev/null
    then printf overlayfs; else printf native; fi
    rm -rf "$probe"
}

boot() {
    [[ -z $(init_pid) ]] || fail "the node is on already"
    make_groups
    launch node inside unshare --mount --pid --mount-proc --uts --fork --kill-child sh -c "$init" "$machine" "$node"
    wait_for node test -e "$machine/run/booted"
    launch containerd on_node containerd --config /etc/containerd.toml
    wait_for containerd on_node ctr version
    [[ -e $machine/busybox.tar ]] || "$here/busybox.sh" "$tools/distribution/bin/busybox" "$sandbox_image" "$machine/busybox.tar"
    import "$machine/busybox.tar"
    launch kube-proxy on_node "$tools/cluster/kube-proxy" --kubeconfig="$dir/proxy.kubeconfig" --hostname-override="$node" \
        --proxy-mode=nftables --cluster-cidr=$pod_networks --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 \
        --conntrack-tcp-timeout-close-wait=0 --healthz-bind-address=127.0.0.1:10256
    launch coredns on_node "$tools/cluster/coredns" -conf /etc/Corefile
    # shellcheck disable=SC2016
    wait_for coredns on_node bash -c 'exec 3<>"/dev/tcp/$0/53"' "$(node_ip)"
    launch kubelet on_node "$tools/cluster/kubelet" --config=/etc/kubelet.yaml --kubeconfig="$dir/kubelet.kubeconfig" \
        --hostname-override="$node" --node-ip="$(node_ip),$(node_ip6)"
    wait_for kubelet kubectl wait --for=condition=Ready --timeout=2s "node/$node"
    : >"$dir/started"
}

# power_off: ends the first process, and with it, all others; interfaces and rules of the node go, too.
power_off() {
    local pid links
    pid=$(init_pid)
    [[ -n $pid ]] || fail "the node is off already"
    kill -KILL "$pid"
    while [[ -n $(init_pid) ]]; do sleep 0.1; done
    rm -rf "$machine/run"
    mkdir "$machine/run"
    remove_groups
    links=$(ip -n "$name" -o link show | awk -F ': ' '{sub("@.*", "", $2); print $2}')
    for link in $links; do
        case $link in lo | uplink) ;; *) ip -n "$name" link delete "$link" 2>/dev/null || true ;; esac
    done
    inside nft flush ruleset
}

# init_pid: of the first process of the node; nothing if the node is off.
init_pid() {
    local pid
    [[ -e /run/netns/$name ]] || return 0
    for pid in $(ip netns pids "$name"); do
        # Its number here, and 1 on the node.
        awk -v pid="$pid" '$1 == "NSpid:" && NF == 3 && $3 == 1 {print pid}' "/proc/$pid/status" 2>/dev/null || true
    done
}

# on_node PROGRAM…: containerd finds shim and runc in its PATH.
on_node() {
    local pid PATH=$tools/containerd:$tools/distribution/usr/sbin:$PATH
    pid=$(init_pid)
    [[ -n $pid ]] || fail "the node is off: cluster.sh boot"
    "${how[@]}" nsenter --target "$pid" --mount --pid --net --uts "$@"
}

run() { on_node "$@"; }

import() {
    local archive
    for archive; do
        archive=$(realpath "$archive")
        on_node ctr --namespace k8s.io images import "$archive" >>"$logs/import.log" 2>&1 ||
            fail "containerd does not take $archive: $(tail -n 1 "$logs/import.log")"
    done
}

# make_groups, remove_groups: those of the pods, in each hierarchy.
make_groups() {
    local top
    for top in $(hierarchies); do mkdir -p "$top/$name"; done
}

remove_groups() {
    local top
    for top in $(hierarchies); do
        for _ in {1..100}; do
            [[ -d $top/$name ]] || break
            find "$top/$name" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
        done
    done
}

# hierarchies: the one of version 2, or those of version 1.
hierarchies() { if [[ -e /sys/fs/cgroup/cgroup.procs ]]; then echo /sys/fs/cgroup; else echo /sys/fs/cgroup/*/; fi; }
