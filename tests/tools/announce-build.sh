#!/usr/bin/env bash
# Says what a first build is going to take, before cargo's lines begin.
set -euo pipefail

# Of one core of 2026, measured from scratch (`time make build`: user and sys).
readonly core_minutes=16

cores=$(nproc)
printf 'Building meta-cni and ipam-server with some 300 crates, once: about %d minutes on %d cores.\n' \
    $(((core_minutes + cores - 1) / cores)) "$cores" >&2
