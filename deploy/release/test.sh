#!/usr/bin/env bash
# A release twice from the same executables is the same, file by file; it holds what it is said to hold; and one whose versions do
# not agree is not made. Placeholders stand for the executables: META_CNI_BIN_DIR has no say here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
workspace=$here/../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    printf 'release/test.sh: %s\n' "$*" >&2
    exit 1
}

mkdir "$work/bin"
for name in meta-cni meta-ipam meta-cnid ipam-server ipamctl; do
    # The beginning of an executable for x86-64.
    { printf '\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0' && printf '%s' "$name"; } >"$work/bin/$name"
    chmod 755 "$work/bin/$name"
done
export META_CNI_BIN_DIR=$work/bin RELEASE_UNCOMMITTED=1
"$here/build.sh" "$work/one" >/dev/null 2>&1 || fail "$("$here/build.sh" "$work/one" 2>&1)"
(umask 077 && TZ=Asia/Tokyo "$here/build.sh" "$work/other") >/dev/null 2>&1
cmp "$work/one/SHA256SUMS" "$work/other/SHA256SUMS" || fail "the same executables gave two releases"
(cd "$work/one" && sha256sum --check --quiet SHA256SUMS)

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$workspace/Cargo.toml" | head -n 1)
name=meta-cni-$version
[[ $(wc -l <"$work/one/SHA256SUMS") == 6 && -s $work/one/$name.md ]] || fail "$(ls "$work/one")"
holds() { tar --list --gzip --file "$work/one/$1" | grep -x "$2" >/dev/null || fail "$1 lacks $2"; }
holds "$name-linux-amd64.tar.gz" "$name/meta-ipam"
holds "$name-linux-amd64.tar.gz" "$name/LICENSE"
holds "$name.tgz" meta-cni/Chart.yaml
holds "$name-manifests.tar.gz" "$name/crds/.*attachmentpolicies.yaml"
holds "$name-manifests.tar.gz" "$name/deploy/kustomize/base/kustomization.yaml"
! tar --list --gzip --file "$work/one/$name.tgz" | grep '\.sh$' >/dev/null || fail "the chart holds scripts"

# A copy of what the script reads, with another version in one place.
refuses() {
    local words=$1 file=$2 change=$3 copy=$work/copy
    rm -rf "$copy"
    mkdir -p "$copy/crds"
    cp -r "$workspace"/{Cargo.toml,CHANGELOG.md,LICENSE,README.md,deploy} "$copy/"
    sed -i "$change" "$copy/$file"
    if "$copy/deploy/release/build.sh" "$work/three" >"$work/error" 2>&1; then fail "released although $file has another version"; fi
    grep -q "$words" "$work/error" || fail "$(<"$work/error")"
    [[ ! -e $work/three ]] || fail "a part of a release was left"
}
refuses 'Chart.yaml has the appVersion 9' deploy/chart/Chart.yaml 's/^appVersion: .*/appVersion: 9.0.0/'
refuses 'has no section' CHANGELOG.md "s/^## \[$version\]/## [9.0.0]/"
echo "release: the same files twice"
