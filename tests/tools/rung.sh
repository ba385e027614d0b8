#!/usr/bin/env bash
# Runs one rung of tests and keeps its output for the summary: rung.sh NAME CARGO-TEST-ARGUMENTS…
set -euo pipefail

rung=$1
shift
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p target
printf '\n== %s\n' "$rung"
cargo test --locked "$@" 2>&1 | tee "target/test-$rung.log"
