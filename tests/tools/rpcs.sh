#!/usr/bin/env bash
# Writes docs/src/rpcs.md, the calls of ipam.v1, from the comments of the contract. With `check`, it writes nothing and fails
# if the page is not what it would write.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
page=docs/src/rpcs.md

page() {
    cat <<'END'
<!-- written by `make rpcs` from proto/ipam/v1 -->
# Calls of ipam.v1

Messages and their fields are in [proto/ipam/v1](../../proto/ipam/v1); [Errors](errors.md#errors-of-ipamv1) has the reasons,
[gRPC clients of ipam.v1](clients.md) the way to connect.
END
    awk '
        function cell(text) { gsub(/\|/, "\\|", text); return text }
        function message(name) { return sub(/^stream:/, "", name) ? "stream of `" name "`" : "`" name "`" }
        /^ *\/\/ / { sub(/^ *\/\/ /, ""); comment = comment (comment ? " " : "") $0; next }
        /^service / { printf "\n## %s\n\n%s\n\n| Call | Request | Response | What |\n|---|---|---|---|\n", $2, comment }
        /^  rpc / {
            gsub(/stream /, "stream:")
            split($0, part, /[ ();]+/)
            printf "| `%s` | %s | %s | %s |\n", part[3], message(part[4]), message(part[6]), cell(comment)
        }
        { comment = "" }
    ' proto/ipam/v1/{pool,lease_service,reservation,admin}.proto
}

case ${1:-} in
'') page >"$page" ;;
check) page | diff -u "$page" - || { printf '%s is not what the contract says: make rpcs\n' "$page" >&2; exit 1; } ;;
*) printf 'usage: rpcs.sh [check]\n' >&2; exit 2 ;;
esac
