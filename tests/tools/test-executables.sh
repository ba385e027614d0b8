#!/usr/bin/env bash
# Builds the tests of the workspace, and prints a line for each executable: its kind (test, lib, bin), its name, the folder of
# its crate, its path; with tabs between them.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo test --locked --workspace --exclude fuzz --no-run --message-format=json-render-diagnostics |
    jq -r 'select(.reason == "compiler-artifact" and .profile.test and .executable) |
        [.target.kind[0], .target.name, (.manifest_path | rtrimstr("/Cargo.toml")), .executable] | @tsv'
