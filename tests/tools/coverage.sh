#!/usr/bin/env bash
# The compiler with what libFuzzer needs to see which code an input reaches (llvm's SanitizerCoverage): for what is
# compiled for the target, not for build scripts and procedural macros.
set -euo pipefail

case " $* " in
*" --target "*)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1
    ;;
*) exec "$@" ;;
esac
