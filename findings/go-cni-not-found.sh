#!/usr/bin/env bash
# go-cni, by which containerd calls its plugins: a DEL that fails with "not found" in its text is taken for success, so
# that the sandbox is forgotten and nobody asks the plugin again. Any other text is an error.
set -euo pipefail

version=v1.1.13
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >plugin <<'PLUGIN'
#!/bin/sh
case $CNI_COMMAND in
VERSION) echo '{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}' ;;
ADD) echo '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "'"$CNI_NETNS"'"}]}' ;;
DEL)
    printf '{"cniVersion": "1.0.0", "code": 999, "msg": "%s"}' "$MESSAGE"
    exit 1
    ;;
esac
PLUGIN
chmod +x plugin
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/go-cni"
)

func main() {
	folder := os.Args[1]
	list := []byte(`{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "plugin"}]}`)
	library, err := cni.New(cni.WithPluginDir([]string{folder}), cni.WithConfListBytes(list))
	if err != nil {
		panic(err)
	}
	fmt.Println(library.Remove(context.Background(), "pod", "/proc/self/ns/net"))
}
GO
cat >go.mod <<MOD
module finding

go 1.26

require github.com/containerd/go-cni $version
MOD
go mod tidy 2>/dev/null
go build -o finding .

wrong=0
# expect MESSAGE PATTERN: what Remove returns if the plugin's DEL fails with this message.
expect() {
    local returned
    returned=$(MESSAGE=$1 ./finding "$work")
    echo "go-cni $version, DEL fails with \"$1\": Remove returns $returned"
    [[ $returned == "$2" ]] || {
        echo "CHANGED: not $2"
        wrong=1
    }
}
expect "the bridge is busy" "*the bridge is busy*"
expect "the address server was not found" "<nil>"
exit $wrong
