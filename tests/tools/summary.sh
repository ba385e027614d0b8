#!/usr/bin/env bash
# The count of tests by rung, and what the kernel lacks: summary.sh RUNG…
# With LACKING=n, another count of lacking tests than n is a failure.
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

lacking=0
if [[ -s target/test-lacking.txt ]]; then
    lacking=$(sort -u target/test-lacking.txt | wc -l)
    printf '\nnot run, because this kernel lacks it (%d):\n' "$lacking"
    sort -u target/test-lacking.txt | sed 's/^/  /'
fi
printf '\n%d passed, %d failed\n' "$total" "$failures"
if ((ignored)); then
    printf 'tests must not be ignored: %d are\n' "$ignored" >&2
    exit 1
fi
if [[ -n ${LACKING:-} && $lacking != "$LACKING" ]]; then
    printf 'the kernel lacks what %d tests need; %d were expected (LACKING)\n' "$lacking" "$LACKING" >&2
    exit 1
fi
((failures == 0))
