#!/usr/bin/env bash
# Prints what is compiled into the executables of the image, as CycloneDX JSON: the crates that cargo chose for Linux, without those
# of builds and tests, each with its licence and the checksum of Cargo.lock. Without network, and the same for the same lock file.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=$(rustc -vV | sed -n 's/^host: //p')

# checksums: {"NAME VERSION": CHECKSUM} of Cargo.lock.
checksums() {
    awk -F'"' '
        /^name = / { name = $2 }
        /^version = / { version = $2 }
        /^checksum = / { printf "{\"%s %s\":\"%s\"}\n", name, version, $2 }
    ' Cargo.lock | jq -s add
}

cargo metadata --format-version 1 --locked --offline --filter-platform "$target" |
    jq --argjson checksums "$(checksums)" --arg target "$target" '
    def purl: "pkg:cargo/\(.name)@\(.version)";
    ["meta-cni", "meta-cnid", "ipam-server", "ipamctl"] as $names
    | (.packages | map({key: .id, value: .}) | from_entries) as $package
    # The crates that a crate links.
    | (.resolve.nodes | map({key: .id, value: [.deps[] | select(any(.dep_kinds[]; .kind == null)) | .pkg]}) | from_entries) as $links
    | .workspace_members as $members
    | [$members[] | select($package[.].name as $name | $names | index($name))] as $roots
    | ({seen: {}, next: $roots} | until(.next == [];
        (reduce .next[] as $id (.seen; .[$id] = true)) as $seen
        | {seen: $seen, next: [.next[] | $links[.][] | select($seen[.] | not)] | unique}) | .seen | keys) as $all
    | {
        bomFormat: "CycloneDX", specVersion: "1.5", version: 1,
        metadata: {
            component: {
                type: "container", name: "meta-cni", version: $package[$roots[0]].version, "bom-ref": "meta-cni",
                licenses: [{expression: "Apache-2.0"}]
            },
            properties: [{name: "cargo:target", value: $target}]
        },
        components: [$all[] | $package[.] | {
            type: "library", name, version, "bom-ref": purl, purl: purl
        } + (if .license then {licenses: [{expression: (.license | gsub("/"; " OR "))}]} else {} end)
          + ($checksums["\(.name) \(.version)"] as $sum | if $sum then {hashes: [{alg: "SHA-256", content: $sum}]} else {} end)
        ] | sort_by(.purl),
        dependencies: ([{ref: "meta-cni", dependsOn: [$roots[] | $package[.] | purl] | sort}]
            + ([$all[] | {ref: ($package[.] | purl), dependsOn: ([$links[.][] | $package[.] | purl] | unique)}] | sort_by(.ref)))
    }'
