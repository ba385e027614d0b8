#!/usr/bin/env bash
# Installs what the end-to-end tests need and the machine lacks; quiet when nothing is missing.
#
#   install.sh [packages] [jq] [plugins] [apiserver] [etcd] [kubectl] [helm] [multus] [whereabouts] [containerd] [cluster] [clients] [deny] [mdbook] [shellcheck] [kernel]
#                                                                     (the first three without an argument)
#
# packages   programs and CNI plugins of the distribution, by apt-get
# jq         only this program, by apt-get, if it is not in PATH
# plugins    the CNI reference plugins pinned in cni-plugins/go.mod, into target/tools/cni-plugins
# apiserver  kube-apiserver pinned in kube-apiserver/go.mod, into target/tools; not if
#            KUBEBUILDER_ASSETS names a folder that has one
# etcd       the newest etcd, pinned in etcd/go.mod, into target/tools/etcd, beside the one of the distribution
# kubectl    kubectl pinned in kubectl/go.mod, into target/tools/bin, if none is in PATH
# helm       Helm pinned in helm/go.mod, into target/tools/bin
# multus     Multus pinned in multus/go.mod, thin and thick, into target/tools/multus
# whereabouts
#            whereabouts pinned in whereabouts/go.mod, with the kinds that it keeps leases in, into target/tools/whereabouts
# containerd containerd pinned in containerd/go.mod, into target/tools/containerd; containerd, runc and busybox
#            of the distribution, into target/tools/distribution: unpacked and not installed, so that no
#            service starts, and the ones that a machine has stay
# cluster    kubelet, kube-controller-manager, kube-scheduler and kube-proxy pinned in kube-apiserver/go.mod, and CoreDNS in
#            coredns/go.mod, into target/tools/cluster
# clients    what each example client needs: a Python with its packages, into target/tools/python-client; those of Node,
#            into target/tools/node-client; examples/clients/go and java built into target/tools/go-client and
#            java-client. Node, npm, a JDK and Maven come by apt-get if they are not in PATH
# kernel     user-mode Linux of Debian with its modules, unpacked and not installed, into target/tools/user-mode-linux;
#            modprobe by apt-get if it is not in PATH
# deny, mdbook, shellcheck
#            cargo-deny, mdBook (it builds the book of docs/), and shellcheck of the distribution, unpacked and not installed,
#            into target/tools
#
# E2E_TOOLS_DIR puts them elsewhere than into target/tools.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=$(realpath -m "${E2E_TOOLS_DIR:-$here/../../target/tools}")
go_needed=1.26.8

say() { printf '%s\n' "install.sh: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

packages() {
    local wanted=(
        containernetworking-plugins curl iproute2 iptables iputils-ping jq nftables procps python3-venv strace
        util-linux xfsprogs
    )
    [[ -n ${KUBEBUILDER_ASSETS:-} && -x $KUBEBUILDER_ASSETS/etcd ]] || wanted+=(etcd-server)
    command -v dpkg-query apt-get >/dev/null ||
        fail "this is not Debian or Ubuntu; install by hand what these packages hold: ${wanted[*]}"

    local missing=() package
    for package in "${wanted[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    ((${#missing[@]})) || return 0

    apt_install "${missing[@]}"
    # The package starts a server of its own, which no test uses.
    if [[ " ${missing[*]} " == *" etcd-server "* && -d /run/systemd/system ]]; then
        "${as_root[@]}" systemctl disable --quiet --now etcd
    fi
}

# apt_install PACKAGE…: installs packages of the distribution.
apt_install() {
    become_root "apt-get install $*"
    say "installing $*"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# need_commands COMMAND=PACKAGE…: installs the packages whose commands are not in PATH.
need_commands() {
    local missing=() pair
    for pair; do
        command -v "${pair%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null ||
        fail "this is not Debian or Ubuntu; install by hand what these packages hold: ${missing[*]}"
    apt_install "${missing[@]}"
}

# become_root WHAT: sets as_root to what makes a command run as root; WHAT is to be done if nothing does.
become_root() {
    as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || fail "run as root: $1"
        as_root=(sudo)
    fi
}

need_go() {
    command -v go >/dev/null || fail "Go $go_needed or newer is needed to build $1. The package of the" \
        "distribution is too old: unpack https://go.dev/dl/ into /usr/local and add /usr/local/go/bin to PATH."
    local found
    found=$(cd / && go env GOVERSION)
    [[ $(printf '%s\n' "$go_needed" "${found#go}" | sort -V | head -n 1) == "$go_needed" ]] ||
        fail "$found ($(command -v go)) is too old to build $1: Go $go_needed or newer is needed." \
            "Unpack https://go.dev/dl/ into /usr/local and put /usr/local/go/bin first in PATH."
}

# built OUTPUT STAMP PINS: whether the output is there and of these pins.
built() { [[ -e $1 && -f $2 && $(<"$2") == "$3" ]]; }

# build NAME OUTPUT WHAT...: builds tools of the module NAME unless its pins are those of the last build. A run that builds the same at
# the same time is waited for.
build() {
    local module=$here/$1 output=$2 stamp pins
    stamp=$tools/.$(basename "$output").stamp
    pins=$(cat "$module/go.mod" "$module/go.sum" | sha256sum)
    built "$output" "$stamp" "$pins" && return
    need_go "$1"
    mkdir -p "$tools"
    (
        flock 9
        built "$output" "$stamp" "$pins" && exit
        say "building $1 into $output (once; takes a few minutes)"
        cd "$module"
        CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$output" "${@:3}"
        printf '%s\n' "$pins" >"$stamp"
    ) 9>"$tools/.$1.lock"
}

plugins() {
    build cni-plugins "$tools/cni-plugins/" tool
}

apiserver() {
    if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
        [[ -x $KUBEBUILDER_ASSETS/kube-apiserver ]] ||
            fail "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS holds no kube-apiserver; unset it to build one"
        return
    fi
    build kube-apiserver "$tools/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
}

etcd() {
    build etcd "$tools/etcd/etcd" go.etcd.io/etcd/server/v3
}

kubectl() {
    local found
    found=$(type -P kubectl) && [[ $found != "$tools/bin/kubectl" ]] && return
    build kubectl "$tools/bin/kubectl" k8s.io/kubernetes/cmd/kubectl
}

# Of the module of kube-apiserver, which has nearly all that they are made of.
cluster() {
    build kube-apiserver "$tools/cluster/" k8s.io/kubernetes/cmd/{kubelet,kube-controller-manager,kube-scheduler,kube-proxy}
    build coredns "$tools/cluster/coredns" .
    need_commands openssl=openssl
}

helm() {
    build helm "$tools/bin/helm" helm.sh/helm/v4/cmd/helm
}

multus() {
    build multus "$tools/multus/" tool
}

whereabouts() {
    local into=$tools/whereabouts
    build whereabouts "$into/whereabouts" github.com/k8snetworkplumbingwg/whereabouts/cmd
    [[ -d $into/crds ]] || install -D -m 644 -t "$into/crds" \
        "$(cd "$here/whereabouts" && go list -m -f '{{.Dir}}' github.com/k8snetworkplumbingwg/whereabouts)"/doc/crds/whereabouts.cni.cncf.io_*.yaml
}

containerd() {
    build containerd "$tools/containerd/" -tags no_btrfs,no_zfs,no_aufs,no_devmapper tool
    local into=$tools/distribution
    [[ -x $into/usr/bin/containerd && -x $into/usr/sbin/runc && -x $into/bin/busybox ]] && return
    unpack "$into" containerd runc busybox-static
    # Newer releases have it in usr/bin.
    [[ -e $into/bin/busybox ]] || { mkdir -p "$into/bin" && ln -s ../usr/bin/busybox "$into/bin/busybox"; }
}

jq() {
    need_commands jq=jq
}

kernel() {
    need_commands modprobe=kmod
    local into=$tools/user-mode-linux
    [[ -x $into/usr/bin/linux.uml ]] || unpack "$into" user-mode-linux
}

shellcheck() {
    [[ -x $tools/shellcheck/usr/bin/shellcheck ]] || unpack "$tools/shellcheck" shellcheck
}

# unpack FOLDER PACKAGE…: packages of the distribution, which are not installed.
unpack() {
    local into=$1 package
    shift
    say "unpacking $* of the distribution into $into"
    rm -rf "$into"
    mkdir -p "$into/packages"
    (cd "$into/packages" && download "$@")
    for package in "$into"/packages/*.deb; do
        dpkg-deb --extract "$package" "$into"
    done
    rm -r "$into/packages"
}

# download PACKAGE…: into this folder; the lists of packages are made new if it fails.
download() {
    local quiet=(-qq -o APT::Sandbox::User=root)
    apt-get "${quiet[@]}" download "$@" 2>/dev/null && return
    become_root "apt-get update"
    "${as_root[@]}" apt-get update -qq
    apt-get "${quiet[@]}" download "$@"
}

clients() {
    python_client
    go_client
    node_client
    java_client
}

python_client() {
    local pins=$here/../../examples/clients/python/requirements.txt venv=$tools/python-client
    cmp -s "$pins" "$venv/requirements.txt" && return
    say "installing grpcio for Python into $venv"
    python3 -m venv --clear "$venv" 2>/dev/null ||
        fail "Python cannot make a virtual environment: apt-get install python3-venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$pins"
    cp "$pins" "$venv/requirements.txt"
}

go_client() {
    local module=$here/../../examples/clients/go output=$tools/go-client stamp=$tools/.go-client.stamp sources
    sources=$(cd "$module" && cat go.mod go.sum ./*.go generate/*.go ../../../proto/ipam/v1/*.proto | sha256sum)
    [[ -x $output && -f $stamp && $(<"$stamp") == "$sources" ]] && return
    need_go examples/clients/go
    say "building examples/clients/go into $output"
    mkdir -p "$tools"
    (cd "$module" && go generate && CGO_ENABLED=0 go build -trimpath -o "$output" .)
    printf '%s\n' "$sources" >"$stamp"
}

node_client() {
    local module=$here/../../examples/clients/node output=$tools/node-client stamp=$tools/.node-client.stamp pins
    need_commands node=nodejs npm=npm
    pins=$(sha256sum <"$module/package-lock.json")
    [[ -d $output && -f $stamp && $(<"$stamp") == "$pins" ]] && return
    say "installing grpc-js for Node into $output"
    rm -rf "$output"
    mkdir -p "$output"
    cp "$module"/package*.json "$output/"
    npm --prefix "$output" ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
    printf '%s\n' "$pins" >"$stamp"
}

java_client() {
    local module=$here/../../examples/clients/java output=$tools/java-client stamp=$tools/.java-client.stamp sources
    need_commands javac=default-jdk-headless mvn=maven
    sources=$(cd "$module" && cat pom.xml src/*.java ../../../proto/ipam/v1/*.proto | sha256sum)
    [[ -d $output && -f $stamp && $(<"$stamp") == "$sources" ]] && return
    say "building examples/clients/java into $output"
    rm -rf "$output"
    mkdir -p "$output"
    mvn --quiet --batch-mode -Dstyle.color=never --file "$module/pom.xml" -Dbuild.folder="$output" compile
    printf '%s\n' "$sources" >"$stamp"
}

deny() {
    cargo_tool cargo-deny 0.20.2
}

mdbook() {
    cargo_tool mdbook 0.5.4
}

# cargo_tool CRATE VERSION: builds the crate's executable of the same name into target/tools/CRATE/bin.
cargo_tool() {
    local crate=$1 version=$2 found
    found=$("$tools/$crate/bin/$crate" --version 2>/dev/null) || found=
    [[ ${found##* } == "$version" || ${found##* } == "v$version" ]] && return
    say "building $crate $version into $tools/$crate (once; takes a few minutes)"
    # Not from the project's folder: its settings are for executables of its own.
    (cd / && cargo install --quiet --locked --debug --no-default-features --force \
        --root "$tools/$crate" --version "$version" "$crate")
}

# Read as a whole before it runs, so that a change of this file does not reach a run.
main() {
    (($#)) || set -- packages plugins apiserver
    local part
    for part; do
        case $part in
        packages | jq | plugins | apiserver | etcd | kubectl | helm | multus | whereabouts | containerd | cluster | clients | deny | mdbook | shellcheck | kernel) "$part" ;;
        *) fail "no such part: $part (packages, plugins, apiserver, etcd, kubectl, helm, multus, whereabouts, containerd, cluster, clients, deny, mdbook, shellcheck, kernel)" ;;
        esac
    done
    exit
}
main "$@"
