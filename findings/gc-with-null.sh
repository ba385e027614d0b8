#!/usr/bin/env bash
# libcni 1.3.1: GC without a valid attachment sends "cni.dev/valid-attachments": null, not an empty list. A plugin that
# takes null for "no list was given" never collects the last pods of a node.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >plugin <<'PLUGIN'
#!/bin/sh
if [ "$CNI_COMMAND" = VERSION ]; then
    echo '{"cniVersion": "1.1.0", "supportedVersions": ["1.1.0"]}'
else
    cat >"${0%/*}/received"
fi
PLUGIN
chmod +x plugin
cat >main.go <<'GO'
package main

import (
	"context"
	"os"

	"github.com/containernetworking/cni/libcni"
)

func main() {
	folder := os.Args[1]
	list, err := libcni.ConfListFromBytes([]byte(`{"cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "plugin"}]}`))
	if err != nil {
		panic(err)
	}
	cni := libcni.NewCNIConfigWithCacheDir([]string{folder}, folder+"/cache", nil)
	if err := cni.GCNetworkList(context.Background(), list, &libcni.GCArgs{}); err != nil {
		panic(err)
	}
}
GO
cat >go.mod <<'MOD'
module finding

go 1.26

require github.com/containernetworking/cni v1.3.1
MOD
go mod tidy 2>/dev/null
go run . "$work"
echo "libcni 1.3.1, GC with no attachment: $(<received)"
grep -q '"cni.dev/valid-attachments":null' received || {
    echo "CHANGED: it does not send null any more"
    exit 1
}
