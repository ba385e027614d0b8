#!/usr/bin/env bash
# Makes the image of meta-cni without network and without root: build.sh FOLDER
#
#   FOLDER/meta-cni.tar         an OCI archive, for `ctr images import`, `podman load` or `skopeo copy oci-archive:…`
#   FOLDER/meta-cni.sbom.json   what is compiled into it (CycloneDX)
#   FOLDER/meta-cni.digest      the digest of its manifest
#
# It holds the executables of META_CNI_BIN_DIR (default: target/<host>/release) and nothing else: they are static. The same executables
# give the same digest. Environment:
#   IMAGE              name of the image (meta-cni.io/meta-cni); its tag is the version of the workspace, or IMAGE_TAG
#   SOURCE_DATE_EPOCH  its time (default: of the last commit)
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

workspace=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
executables=(meta-cni meta-ipam meta-cnid ipam-server ipamctl)
# No user of a node: what needs root says so in its pod.
user=65532:65532

fail() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}

(($# == 1)) || fail "usage: build.sh FOLDER"
for program in jq tar gzip sha256sum; do
    command -v "$program" >/dev/null || fail "$program is missing: apt-get install $program"
done
mkdir -p "$1"
output=$(cd "$1" && pwd)
[[ -n ${META_CNI_BIN_DIR:-} ]] || META_CNI_BIN_DIR=$workspace/target/$(rustc -vV | sed -n 's/^host: //p')/release
for name in "${executables[@]}"; do
    [[ -x $META_CNI_BIN_DIR/$name ]] ||
        fail "$META_CNI_BIN_DIR has no executable $name: run \`make build\`, or set META_CNI_BIN_DIR"
done

# A package of the sources has no history.
of_git() { git -C "$workspace" "$@" 2>/dev/null || true; }
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$workspace/Cargo.toml" | head -n 1)
name=${IMAGE:-meta-cni.io/meta-cni}
tag=${IMAGE_TAG:-$version}
seconds=${SOURCE_DATE_EPOCH:-$(of_git log -1 --format=%ct)}
seconds=${seconds:-0}
created=$(date -u -d "@$seconds" +%Y-%m-%dT%H:%M:%SZ)
revision=$(of_git rev-parse HEAD)

# architecture FILE: of an ELF executable, as OCI calls it.
architecture() {
    case $(od -An -tx2 -j18 -N2 --endian=little "$1" | tr -d ' ') in
    003e) echo amd64 ;;
    00b7) echo arm64 ;;
    *) fail "$1 is no executable for x86-64 or arm64" ;;
    esac
}

# archive FOLDER FILE…: a tar archive that depends on the files alone.
archive() {
    tar --create --directory "$1" --format=ustar --sort=name --mtime="@$seconds" --owner=0 --group=0 --numeric-owner "${@:2}"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root layout=$work/layout
mkdir -p "$root" "$layout/blobs/sha256"

# blob FILE MEDIA-TYPE: moves the file into the image; prints its descriptor.
blob() {
    local digest size
    digest=$(sha256sum "$1" | cut -d' ' -f1)
    size=$(stat -c %s "$1")
    mv "$1" "$layout/blobs/sha256/$digest"
    jq -nc --arg type "$2" --arg digest "sha256:$digest" --argjson size "$size" \
        '{mediaType: $type, digest: $digest, size: $size}'
}

for name_of in "${executables[@]}"; do
    install -m 755 "$META_CNI_BIN_DIR/$name_of" "$root/$name_of"
done
machine=$(architecture "$root/meta-cni")
archive "$root" "${executables[@]}" >"$work/layer.tar"
content=sha256:$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
gzip --no-name --best "$work/layer.tar"
layer=$(blob "$work/layer.tar.gz" application/vnd.oci.image.layer.v1.tar+gzip)

labels=$(jq -nc --arg version "$version" --arg revision "$revision" --arg created "$created" '{
    "org.opencontainers.image.title": "meta-cni",
    "org.opencontainers.image.description": "Several networks for a pod, and leases of their addresses",
    "org.opencontainers.image.source": "https://github.com/meta-cni/meta-cni",
    "org.opencontainers.image.licenses": "Apache-2.0",
    "org.opencontainers.image.version": $version,
    "org.opencontainers.image.revision": $revision,
    "org.opencontainers.image.created": $created
} | with_entries(select(.value != ""))')
jq -nc --arg created "$created" --arg machine "$machine" --arg user "$user" --arg content "$content" \
    --argjson labels "$labels" '{
    created: $created, architecture: $machine, os: "linux",
    config: {User: $user, Env: ["PATH=/"], Cmd: ["/meta-cni", "--help"], WorkingDir: "/", Labels: $labels},
    rootfs: {type: "layers", diff_ids: [$content]},
    history: [{created: $created, created_by: "deploy/image/build.sh"}]
}' >"$work/config.json"
config=$(blob "$work/config.json" application/vnd.oci.image.config.v1+json)
jq -nc --argjson config "$config" --argjson layer "$layer" --argjson labels "$labels" '{
    schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: $config, layers: [$layer], annotations: $labels
}' >"$work/manifest.json"
manifest=$(blob "$work/manifest.json" application/vnd.oci.image.manifest.v1+json)
jq -nc --argjson manifest "$manifest" --arg machine "$machine" --arg name "$name" --arg tag "$tag" '{
    schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [$manifest + {
        platform: {architecture: $machine, os: "linux"},
        annotations: {"io.containerd.image.name": "\($name):\($tag)", "org.opencontainers.image.ref.name": $tag}
    }]
}' >"$layout/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
archive "$layout" blobs index.json oci-layout >"$work/meta-cni.tar"

"$workspace/deploy/image/sbom.sh" >"$work/sbom.json"
mv "$work/meta-cni.tar" "$output/meta-cni.tar"
mv "$work/sbom.json" "$output/meta-cni.sbom.json"
jq -r .digest <<<"$manifest" >"$output/meta-cni.digest"
printf '%s: %s:%s, linux/%s, %s, %s\n' "$output/meta-cni.tar" "$name" "$tag" "$machine" \
    "$(du -h --apparent-size "$output/meta-cni.tar" | cut -f1)" "$(<"$output/meta-cni.digest")"
