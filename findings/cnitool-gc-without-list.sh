#!/usr/bin/env bash
# `cnitool gc` gives plugins no `cni.dev/valid-attachments` at all, although the specification (1.1.0, "GC") requires the list: a
# plugin that takes its absence for an empty list, or for an error, serves cnitool wrongly. A runtime that lists nothing sends null.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
GOBIN=$work CGO_ENABLED=0 go install github.com/containernetworking/cni/cnitool@v1.3.1

# A plugin that keeps what it is given.
cat >"$work/keeps" <<PLUGIN
#!/bin/sh
[ "\$CNI_COMMAND" = VERSION ] && { echo '{"cniVersion": "1.1.0", "supportedVersions": ["1.1.0"]}'; exit; }
cat >"$work/\$CNI_COMMAND"
PLUGIN
chmod +x "$work/keeps"
mkdir "$work/conf"
echo '{"cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "keeps"}]}' >"$work/conf/net.conflist"

NETCONFPATH=$work/conf CNI_PATH=$work "$work/cnitool" gc net /proc/self/ns/net
given=$(<"$work/GC")
echo "cnitool 1.3.1, GC: $given"
[[ $given == *'"type":"keeps"'* && $given != *attachments* ]] || { echo "CHANGED: the list is there"; exit 1; }
