#!/usr/bin/env bash
# Builds the executables of an earlier release, once, and says in which folder they are: previous.sh REVISION
# PROFILE=dev builds them without optimisation.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
revision=$(git rev-parse --verify --quiet "$1^{commit}") || {
    printf 'previous.sh: %s is not in this clone: fetch its history (git fetch --unshallow --tags)\n' "$1" >&2
    exit 1
}
profile=${PROFILE:-release}
work=$PWD/target/previous
folder=$work/$revision-$profile
programs=(meta-cni meta-ipam meta-cnid ipam-server ipamctl)
if [[ ! -x $folder/${programs[-1]} ]]; then
    rm -rf "$work/source"
    mkdir -p "$work/source"
    git archive "$revision" | tar --extract --directory "$work/source"
    flags=()
    [[ $profile == dev ]] || flags=(--release)
    (cd "$work/source" && CARGO_TARGET_DIR=$work/build cargo build --locked "${flags[@]}" --package meta-cni --package meta-cnid \
        --package ipam-server --package ipamctl --bins) >&2
    host=$(rustc -vV | sed -n 's/^host: //p')
    mkdir -p "$folder"
    for program in "${programs[@]}"; do
        install -m 755 "$work/build/$host/${profile/dev/debug}/$program" "$folder/$program"
    done
fi
printf '%s\n' "$folder"
