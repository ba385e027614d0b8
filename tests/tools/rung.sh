#!/usr/bin/env bash
# Runs one rung of tests and keeps its output for the summary.
#
#   rung.sh NAME [LIBTEST-ARGUMENT…]   the module NAME of the end-to-end tests
#   rung.sh unit                       the tests of all other crates, and the examples in their documentation
#   rung.sh replicas [LIBTEST-ARGUMENT…]   the tests of ipam-server that need an etcd, and the module replicas: on the etcd of the machine
#                                          and on the newest one; ETCD names a program that is the only one
#
# All rungs are built as one: with other packages chosen, cargo would build their dependencies a second time.
set -euo pipefail

rung=$1
shift
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p target
printf '\n== %s\n' "$rung"

# run_in FOLDER EXECUTABLE [ARGUMENT…]: as cargo runs tests, in the folder of their crate.
run_in() {
    printf '\n%s\n' "${2##*/}"
    (cd "$1" && CARGO_MANIFEST_DIR=$PWD "${@:2}")
}

unit() {
    local kind name folder executable ended=0
    while IFS=$'\t' read -r kind name folder executable; do
        [[ $folder == "$PWD/tests" || $name == etcd ]] || run_in "$folder" "$executable" </dev/null || ended=1
    done <<<"$built"
    cargo test --locked --workspace --exclude fuzz --doc || ended=1
    return "$ended"
}

replicas() {
    if [[ -n ${ETCD:-} ]]; then
        over_etcd "$@"
        return
    fi
    over_etcd "$@"
    printf '\nonce more on etcd 3.7\n'
    ETCD=${E2E_TOOLS_DIR:-$PWD/target/tools}/etcd/etcd over_etcd "$@"
}

over_etcd() {
    local kind name folder executable
    while IFS=$'\t' read -r kind name folder executable; do
        [[ $kind == test && $name == etcd ]] && break
    done <<<"$built"
    run_in "$folder" "$executable" "$@" </dev/null
    end_to_end "$@"
}

end_to_end() {
    local kind name folder executable list tests
    while IFS=$'\t' read -r kind name folder executable; do
        [[ $kind == test && $name == e2e ]] && break
    done <<<"$built"
    list=$("$executable" --list)
    # By their whole names: libtest also takes `doctor::faults::` for `faults::`.
    mapfile -t tests < <(sed -n "s/^\($rung::.*\): test$/\1/p" <<<"$list")
    ((${#tests[@]})) || { printf 'rung.sh: there is no end-to-end test in %s\n' "$rung" >&2; exit 1; }
    run_in "$folder" "$executable" "$@" --exact "${tests[@]}"
}

run() {
    local built
    built=$(tests/tools/test-executables.sh)
    case $rung in
        unit) unit ;;
        replicas) replicas "$@" ;;
        *) end_to_end "$@" ;;
    esac
}

run "$@" 2>&1 | tee "target/test-$rung.log"
