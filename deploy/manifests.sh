#!/usr/bin/env bash
# Writes the manifests of deploy/ and deploy/kustomize/ from the chart, for the namespace kube-system. With `check`, it writes nothing
# and fails if one is not what it would write. HELM names the program (default: that of target/tools, else of PATH).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
helm=${HELM:-../target/tools/bin/helm}
[[ -x $helm ]] || helm=helm

# render TEMPLATES [ARGUMENT…]: what templates (comma list) make, without what Helm writes above each. Helm has objects in the order of
# their kinds; here, those of one name are together: a policy and its binding.
render() {
    local templates=() template
    for template in ${1//,/ }; do templates+=(--show-only "templates/$template.yaml"); done
    "$helm" template meta-cni chart --namespace kube-system --values chart/plain.yaml "${@:2}" "${templates[@]}" | awk '
        function take() {
            sub(/^\n+/, "", text); sub(/\n+$/, "", text)
            if (text != "") {
                if (!(name in objects)) { names[++count] = name; objects[name] = text }
                else objects[name] = objects[name] "\n---\n" text
            }
            text = name = ""
        }
        /^# Source: / { next }
        /^---$/ { take(); next }
        /^  name: / && name == "" { name = $2 }
        { text = text $0 "\n" }
        END {
            take()
            for (i = 1; i <= count; i++) printf "%s%s\n", i == 1 ? "" : "---\n", objects[names[i]]
        }'
}

no_leases=(--set ipamServer.enabled=false)
manifest() {
    case $1 in
    rbac.yaml) render plugin-rbac ;;
    agent-rbac.yaml) render agent-rbac ;;
    admission.yaml) render admission ;;
    agent-taint.yaml) render agent-taint --set agent.taint=true --set install.enabled=true ;;
    agent.yaml) render agent "${no_leases[@]}" ;;
    ipam-server.yaml | kustomize/ipam/ipam-server.yaml) render ipam-server ;;
    kustomize/base/meta-cni.yaml) render agent-rbac,admission,agent "${no_leases[@]}" --set install.enabled=true ;;
    kustomize/ipam/agent-ipam-patch.yaml) cat agent-ipam-patch.yaml ;;
    esac
}

files=(rbac.yaml agent-rbac.yaml admission.yaml agent-taint.yaml agent.yaml ipam-server.yaml kustomize/base/meta-cni.yaml
    kustomize/ipam/ipam-server.yaml kustomize/ipam/agent-ipam-patch.yaml)
case ${1:-} in
'') for file in "${files[@]}"; do manifest "$file" >"$file.new" || { rm "$file.new"; exit 1; }; mv "$file.new" "$file"; done ;;
check)
    for file in "${files[@]}"; do
        manifest "$file" | diff -u "$file" - || { printf 'deploy/%s is not what the chart makes: make manifests\n' "$file" >&2; exit 1; }
    done
    ;;
*) printf 'usage: manifests.sh [check]\n' >&2; exit 2 ;;
esac
