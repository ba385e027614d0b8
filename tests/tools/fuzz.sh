#!/usr/bin/env bash
# Runs the fuzz targets for a bounded time: fuzz.sh [TARGET]…  (all of them without an argument)
#
# FUZZ_RUNS     inputs of each target (30000); 0 is without end
# FUZZ_SECONDS  the longest time of each target (60); 0 is without end
#
# What a run finds to be of interest goes to target/fuzz/corpus/TARGET, beside the seeds in fuzz/corpus/TARGET; an input
# that fails to target/fuzz/TARGET-crash-*. The stable compiler is enough; `cargo fuzz run TARGET` works as well, where it
# is installed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
targets=("$@")
((${#targets[@]})) || targets=(authority filter page_token pool_yaml cni_stdin)

host=$(rustc -vV | sed -n 's/^host: //p')
# libFuzzer finds functions of the C library at run time: these executables are not static. Only crates of the
# workspace are watched: a dependency's branches are not of interest.
RUSTFLAGS='--cfg fuzzing' RUSTC_WORKSPACE_WRAPPER=$here/coverage.sh CARGO_PROFILE_DEV_DEBUG=0 \
    cargo build --quiet --locked --target-dir target/fuzz/build --package fuzz --bins

passed=0 failed=0
for target in "${targets[@]}"; do
    found=target/fuzz/corpus/$target
    mkdir -p "$found"
    if "target/fuzz/build/$host/debug/$target" -runs="$(("${FUZZ_RUNS:-30000}" > 0 ? "${FUZZ_RUNS:-30000}" : -1))" \
        -max_total_time="${FUZZ_SECONDS:-60}" -seed=1 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="target/fuzz/$target-" "$found" "fuzz/corpus/$target" >"target/fuzz/$target.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "target/fuzz/$target.log")
        printf 'test fuzz::%s ... ok (%s inputs)\n' "$target" "$runs"
        passed=$((passed + 1))
    else
        tail -n 40 "target/fuzz/$target.log"
        printf 'test fuzz::%s ... FAILED\n' "$target"
        failed=$((failed + 1))
    fi
done
printf '\ntest result: %s. %d passed; %d failed; 0 ignored; 0 measured; 0 filtered out\n' \
    "$( ((failed)) && echo FAILED || echo ok)" "$passed" "$failed"
((failed == 0))
