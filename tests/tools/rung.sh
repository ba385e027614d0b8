#!/usr/bin/env bash
# Runs one rung of tests and keeps its output for the summary.
#
#   rung.sh NAME [LIBTEST-ARGUMENT…]             the module NAME of the end-to-end tests
#   rung.sh NAME --crates CARGO-TEST-ARGUMENT…   the tests of crates
set -euo pipefail

rung=$1
shift
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p target
printf '\n== %s\n' "$rung"

run() {
    if [[ ${1:-} == --crates ]]; then
        cargo test --locked "${@:2}"
        return
    fi
    local list tests
    list=$(cargo test --locked --package e2e --test e2e -- --list)
    # By their whole names: libtest also takes `doctor::faults::` for `faults::`.
    mapfile -t tests < <(sed -n "s/^\($rung::.*\): test$/\1/p" <<<"$list")
    ((${#tests[@]})) || { printf 'rung.sh: there is no end-to-end test in %s\n' "$rung" >&2; exit 1; }
    cargo test --locked --package e2e --test e2e -- "$@" --exact "${tests[@]}"
}

run "$@" 2>&1 | tee "target/test-$rung.log"
