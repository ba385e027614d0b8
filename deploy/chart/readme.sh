#!/usr/bin/env bash
# Writes README.md of the chart from the comments of values.yaml. With `check`, it writes nothing and fails if the page is not what it
# would write.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"

page() {
    cat <<'END'
<!-- written by deploy/chart/readme.sh from values.yaml -->
# The chart of meta-cni

The agent and the installer on every node, ipam-server, their rights, and what the API server refuses. [Install](../../docs/src/install.md)
has the two commands, [The agent of a node](../../docs/src/agent.md) and [Addresses (IPAM)](../../docs/src/ipam.md) what runs.

| Value | Default | What |
|---|---|---|
END
    awk '
        function cell(text) { gsub(/\|/, "\\|", text); return text }
        function row() {
            if (name != "") printf "| `%s` | %s | %s |\n", name, value == "" ? "see values.yaml" : "`" cell(value) "`", cell(comment)
            name = comment = ""
        }
        /^ *# -- / { row(); sub(/^ *# -- /, ""); pending = $0; next }
        /^ *[A-Za-z]+:/ {
            indent = match($0, /[^ ]/) - 1
            key = $0; sub(/^ */, "", key); sub(/:.*/, "", key)
            path[indent / 2] = key
            if (pending != "") {
                row()
                name = path[0]
                for (i = 1; i <= indent / 2; i++) name = name "." path[i]
                value = $0; sub(/^[^:]*: */, "", value); if (value ~ /^[^ ]*:$/) value = ""
                comment = pending; pending = ""
            }
        }
        END { row() }
    ' values.yaml
}

case ${1:-} in
'') page >README.md ;;
check) page | diff -u README.md - || { printf 'README.md is not what values.yaml says: deploy/chart/readme.sh\n' >&2; exit 1; } ;;
*) printf 'usage: readme.sh [check]\n' >&2; exit 2 ;;
esac
