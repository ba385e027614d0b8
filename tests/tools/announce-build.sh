#!/usr/bin/env bash
# Says what a first build is going to take, before cargo's lines begin: announce-build.sh MINUTES
#
# MINUTES of one core of 2026, measured from scratch (user and sys of `time make build`, `time make build-demo`).
set -euo pipefail

readonly core_minutes=${1:?say how many minutes of one core the build takes}

cores=$(nproc)
printf 'Building meta-cni and ipam-server with some 300 crates, once: about %d minutes on %d cores.\n' \
    $(((core_minutes + cores - 1) / cores)) "$cores" >&2
