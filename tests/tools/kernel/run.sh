#!/usr/bin/env bash
# Runs the end-to-end tests that this machine's kernel lacks something for under Debian's user-mode Linux: a kernel that
# is a process, with the files of this machine.
#
#   run.sh            the tests that this kernel cannot run
#   run.sh --all      all tests that need something that kernels may lack
#
# KERNEL_SECONDS  the longest time (1500), KERNEL_MEMORY the memory of that kernel (2048M).
# KERNEL_EVERY    of how many rows of the built-in plugins one is run (20; 1: all, in about two hours).
#
# A test that lacks something there, too, runs nowhere: that is a failure. The log of the tests is
# target/test-kernel.log, for the summary.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../../.."
target=$PWD/target
tools=$(realpath -m "${E2E_TOOLS_DIR:-$target/tools}")
log=$target/test-kernel.log
work=$target/kernel

mkdir -p "$target"
printf '\n== kernel\n' | tee "$log"

executable=$(tests/tools/test-executables.sh | awk -F '\t' '$1 == "test" && $2 == "e2e" { print $4 }')
tests=$("${executable%/deps/*}/lacking-tests" "$@")
if [[ -z $tests ]]; then
    printf 'this kernel can run all tests\ntest result: ok. 0 passed; 0 failed; 0 ignored\n' | tee -a "$log"
    exit 0
fi

rm -rf "$work"
mkdir -p "$work"
{
    declare -px PATH
    [[ -z ${META_CNI_BIN_DIR:-} ]] || declare -px META_CNI_BIN_DIR
    printf 'export E2E_TOOLS_DIR=%q E2E_LACKING_FILE=%q BUILTIN_EVERY=%q\n' "$tools" "$work/lacking" "${KERNEL_EVERY:-20}"
    printf 'modules=%q\n' "$tools/user-mode-linux/usr/lib/uml/modules"
    # shellcheck disable=SC2086 # One word a test.
    printf 'cd %q\nrun() { %q --exact %s; }\n' "$PWD/tests" "$executable" "$(printf '%q ' $tests)"
} >"$work/job"
: >"$work/log"

# In a namespace of process IDs, the processes of that kernel end with its first one.
HOME=$work timeout --kill-after=10 "${KERNEL_SECONDS:-1500}" \
    unshare --pid --fork --kill-child -- "$tools/user-mode-linux/usr/bin/linux.uml" \
    mem="${KERNEL_MEMORY:-2048M}" root=/dev/root rootfstype=hostfs rootflags=/ rw quiet con=null con0=null,fd:1 \
    init="$here/init.sh" work="$work" </dev/null >"$work/console" 2>&1 &
kernel=$!
tail --pid="$kernel" --lines=+1 --follow "$work/log" | tee -a "$log"
ended=0
wait "$kernel" || ended=$?

if [[ ! -s $work/status ]]; then
    printf 'run.sh: user-mode Linux ended with %d before the tests did; its console:\n' "$ended" >&2
    tail -n 40 "$work/console" >&2
    exit 1
fi
if [[ -s $work/lacking ]]; then
    printf 'run.sh: these tests ran nowhere, because user-mode Linux lacks something, too:\n' >&2
    cat "$work/lacking" >&2
    exit 1
fi
exit "$(<"$work/status")"
