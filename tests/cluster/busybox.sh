#!/usr/bin/env bash
# Makes the image of sandboxes and of containers that only wait: busybox.sh BUSYBOX NAME ARCHIVE (of the form of `docker save`).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/bin"
cp "$1" "$work/root/bin/busybox"
for applet in cat ip ping sh sleep tail; do ln -s busybox "$work/root/bin/$applet"; done
tar --create --directory "$work/root" --owner=0 --group=0 --file "$work/layer.tar" .
digest=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
case $(uname -m) in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; *) machine=$(uname -m) ;; esac
cat >"$work/config.json" <<END
{"architecture": "$machine", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:$digest"]},
 "config": {"Env": ["PATH=/bin"], "Entrypoint": ["/bin/tail", "-f", "/dev/null"]}}
END
printf '[{"Config": "config.json", "RepoTags": ["%s"], "Layers": ["layer.tar"]}]' "$2" >"$work/manifest.json"
tar --create --directory "$work" --file "$3" manifest.json config.json layer.tar
