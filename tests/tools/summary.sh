#!/usr/bin/env bash
# The count of tests by rung, and which tests ran nowhere: summary.sh RUNG…
# With LACKING=n, another count of tests that ran nowhere than n is a failure.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# sum COLUMN FILE: adds up one figure of the closing lines of libtest.
sum() {
    sed -n "s/^test result: .* \([0-9]\+\) $1.*/\1/p" "$2" | awk '{n += $1} END {print n + 0}'
}

printf '\n%-14s %7s %7s %7s\n' rung passed failed ignored
total=0 failures=0 ignored=0
for rung in "$@"; do
    log=target/test-$rung.log
    passed=$(sum passed "$log") failed=$(sum failed "$log") skipped=$(sum ignored "$log")
    printf '%-14s %7d %7d %7d\n' "$rung" "$passed" "$failed" "$skipped"
    total=$((total + passed)) failures=$((failures + failed)) ignored=$((ignored + skipped))
done

# What a rung could not run here, the kernel rung may have run.
elsewhere=() missing=()
if [[ -s target/test-lacking.txt ]]; then
    while read -r line; do
        if grep --quiet --no-messages --fixed-strings --line-regexp "test ${line##*: } ... ok" target/test-kernel.log; then
            elsewhere+=("$line")
        else
            missing+=("$line")
        fi
    done < <(sort -u target/test-lacking.txt)
fi
nowhere=${#missing[@]}
if ((${#elsewhere[@]})); then
    printf '\nrun under user-mode Linux, because this kernel lacks it (%d):\n' "${#elsewhere[@]}"
    printf '  %s\n' "${elsewhere[@]}"
fi
if ((nowhere)); then
    printf '\nrun nowhere (%d):\n' "$nowhere"
    printf '  %s\n' "${missing[@]}"
fi
printf '\n%d passed, %d failed\n' "$total" "$failures"
if ((ignored)); then
    printf 'tests must not be ignored: %d are\n' "$ignored" >&2
    exit 1
fi
if [[ -n ${LACKING:-} && $nowhere != "$LACKING" ]]; then
    printf '%d tests ran nowhere; %d were expected (LACKING)\n' "$nowhere" "$LACKING" >&2
    exit 1
fi
((failures == 0))
