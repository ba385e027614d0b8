#!/usr/bin/env bash
# Makes what a release consists of, without network and without root: build.sh FOLDER
#
#   meta-cni-VERSION-linux-ARCHITECTURE.tar.gz        the executables, static, with licence and README
#   meta-cni-VERSION-image-linux-ARCHITECTURE.tar     the image, an OCI archive (deploy/image/build.sh)
#   meta-cni-VERSION.sbom.json                        what is compiled in (CycloneDX)
#   meta-cni-VERSION.tgz                              the Helm chart
#   meta-cni-VERSION-manifests.tar.gz                 CRDs, manifests and bases for kustomize
#   meta-cni-VERSION.md                               what is new: the section of CHANGELOG.md
#   SHA256SUMS                                        the checksums of all of these
#
# The same commit and the same executables (META_CNI_BIN_DIR, default: target/<host>/release) give the same files. Environment:
#   HELM                      the program (default: that of target/tools, else of PATH)
#   SOURCE_DATE_EPOCH         the time of all files (default: of the last commit)
#   RELEASE_UNCOMMITTED=1     for a trial: changes that are not committed are packed, too
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

workspace=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
helm=${HELM:-$workspace/target/tools/bin/helm}
[[ -x $helm ]] || helm=helm

fail() {
    printf 'release: %s\n' "$*" >&2
    exit 1
}

# field FILE KEY: of the first line `KEY: VALUE` or `KEY = "VALUE"`.
field() { sed -n "s/^$2\(: \| = \)\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\2/p" "$workspace/$1" | head -n 1; }

# of_git ARGUMENT…: nothing where the sources have no history.
of_git() { git -C "$workspace" "$@" 2>/dev/null || true; }

# agree: the version stands in several files, and in the tag.
agree() {
    local found tag
    for found in version appVersion; do
        [[ $(field deploy/chart/Chart.yaml $found) == "$version" ]] ||
            fail "deploy/chart/Chart.yaml has the $found $(field deploy/chart/Chart.yaml $found), Cargo.toml $version: give both the same, then make manifests"
    done
    grep -q "^## \[$version\]" "$workspace/CHANGELOG.md" ||
        fail "CHANGELOG.md has no section [$version]: name the section [Unreleased] so"
    for tag in $(of_git tag --points-at HEAD 'v*'); do
        [[ $tag == "v$version" ]] || fail "this commit has the tag $tag, Cargo.toml the version $version: tag the commit of that version"
    done
    [[ -n ${RELEASE_UNCOMMITTED:-} || -z $(of_git status --porcelain) ]] ||
        fail "there are changes that are not committed: commit them, or set RELEASE_UNCOMMITTED=1 for a trial"
}

# archive FOLDER NAME…: a compressed archive that depends on the files alone.
archive() {
    tar --create --directory "$1" --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" \
        --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX "${@:2}" | gzip --no-name --best
}

(($# == 1)) || fail "usage: build.sh FOLDER"
version=$(field Cargo.toml version)
agree
[[ -n ${SOURCE_DATE_EPOCH:-} ]] || SOURCE_DATE_EPOCH=$(of_git log -1 --format=%ct)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}
mkdir -p "$1"
output=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=meta-cni-$version
files=$work/files
mkdir -p "$files"

"$workspace/deploy/image/build.sh" "$work/image" >&2
mkdir "$work/layout"
tar --extract --directory "$work/layout" --file "$work/image/meta-cni.tar"
blob() { printf '%s/layout/blobs/sha256/%s' "$work" "${1#sha256:}"; }
manifest=$(blob "$(<"$work/image/meta-cni.digest")")
machine=linux-$(jq -r .architecture "$(blob "$(jq -r .config.digest "$manifest")")")
mv "$work/image/meta-cni.tar" "$files/$name-image-$machine.tar"
mv "$work/image/meta-cni.sbom.json" "$files/$name.sbom.json"

# The executables are those of the image.
mkdir "$work/$name"
tar --extract --gzip --directory "$work/$name" --file "$(blob "$(jq -r '.layers[0].digest' "$manifest")")"
cp "$workspace/LICENSE" "$workspace/README.md" "$work/$name/"
archive "$work" "$name" >"$files/$name-$machine.tar.gz"

# Packed by Helm, which leaves out what .helmignore names, and once more without the time of today.
"$helm" package "$workspace/deploy/chart" --destination "$work/chart" >/dev/null
tar --extract --gzip --directory "$work/chart" --file "$work/chart/$name.tgz"
archive "$work/chart" meta-cni >"$files/$name.tgz"

mkdir -p "$work/manifests/$name/deploy"
cp -r "$workspace/crds/yaml" "$work/manifests/$name/crds"
cp -r "$workspace"/deploy/*.yaml "$workspace/deploy/kustomize" "$work/manifests/$name/deploy/"
archive "$work/manifests" "$name" >"$files/$name-manifests.tar.gz"

awk -v start="## [$version]" 'index($0, start) == 1 { found = 1; next } /^## \[/ { found = 0 } found' \
    "$workspace/CHANGELOG.md" >"$files/$name.md"
(cd "$files" && sha256sum -- * >SHA256SUMS)
# All at once: a release that is half made is none.
rm -rf "${output:?}"
mv "$files" "$output"
printf 'release %s in %s:\n' "$version" "$output"
(cd "$output" && ls -sh --block-size=K)
