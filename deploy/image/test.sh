#!/usr/bin/env bash
# The image twice from the same executables, at different times and places, has one digest; every blob has the digest that its name
# says; and what is compiled in is listed. Placeholders stand for the executables: META_CNI_BIN_DIR has no say here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    printf 'test.sh: %s\n' "$*" >&2
    exit 1
}

mkdir "$work/bin"
for name in meta-cni meta-ipam meta-cnid ipam-server ipamctl; do
    # The beginning of an executable for x86-64.
    { printf '\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0' && printf '%s' "$name"; } >"$work/bin/$name"
    chmod 755 "$work/bin/$name"
done
cp -r "$work/bin" "$work/copy"
chmod 700 "$work/copy/meta-cni"
touch -d 2001-01-01 "$work/copy"/*
META_CNI_BIN_DIR=$work/bin "$here/build.sh" "$work/one" >/dev/null
(umask 077 && META_CNI_BIN_DIR=$work/copy TZ=Asia/Tokyo "$here/build.sh" "$work/other" >/dev/null)
cmp "$work/one/meta-cni.tar" "$work/other/meta-cni.tar" || fail "the same executables gave two archives"
cmp "$work/one/meta-cni.sbom.json" "$work/other/meta-cni.sbom.json" || fail "the same lock file gave two lists of crates"

mkdir "$work/layout"
tar --extract --directory "$work/layout" --file "$work/one/meta-cni.tar"
for blob in "$work/layout"/blobs/sha256/*; do
    [[ $(sha256sum <"$blob" | cut -d' ' -f1) == "${blob##*/}" ]] || fail "$blob has another digest than its name"
done
blob() { printf '%s/blobs/sha256/%s' "$work/layout" "${1#sha256:}"; }
manifest=$(blob "$(jq -r '.manifests[0].digest' "$work/layout/index.json")")
[[ sha256:${manifest##*/} == "$(<"$work/one/meta-cni.digest")" ]] || fail "the digest is not that of the manifest"
config=$(blob "$(jq -r .config.digest "$manifest")")
layer=$(blob "$(jq -r '.layers[0].digest' "$manifest")")
[[ sha256:$(gzip -dc "$layer" | sha256sum | cut -d' ' -f1) == "$(jq -r '.rootfs.diff_ids[0]' "$config")" ]] ||
    fail "the layer is not the one that the configuration names"
[[ $(jq -r '.architecture + " " + .config.User' "$config") == "amd64 65532:65532" ]] || fail "$(<"$config")"
[[ $(tar --list --verbose --numeric-owner --file "$layer" | grep -c '^-rwxr-xr-x 0/0 ') == 5 ]] ||
    fail "the layer does not hold five executables of root"

jq -e '.components | length > 100 and all(.purl and .licenses) and any(.name == "rustls" and .hashes)
    and all(.name != "proptest" and .name != "protox")' "$work/one/meta-cni.sbom.json" >/dev/null ||
    fail "the list of crates lacks some, or has some of tests"
if META_CNI_BIN_DIR=$work/none "$here/build.sh" "$work/three" 2>"$work/error"; then fail "it was built from nothing"; fi
grep -q 'has no executable meta-cni: run' "$work/error" || fail "$(<"$work/error")"
echo "image: the same digest twice"
