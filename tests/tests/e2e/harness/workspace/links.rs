//! What crates must not link, built each on its own: the features of a dependency are those that the crate itself asks for.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::workspace::metadata::cargo;

/// Crates, and what they must not link: a package, or one feature of it.
const NEVER: [(&str, &[&str]); 4] = [
    // A plugin serves nobody: it lives for one call.
    (
        "meta-cni",
        &[
            "axum",
            "kube-runtime",
            "prometheus-client",
            "ratatui",
            "sled",
            "tonic/router",
            "tonic/server",
        ],
    ),
    // Screens and tables are for people: ipamctl has them.
    (
        "ipam-server",
        &["comfy-table", "crossterm", "indicatif", "ratatui"],
    ),
    (
        "cni-protocol",
        &["hyper", "kube", "tokio", "tonic", "tracing"],
    ),
    ("netlink", &["futures-core", "tokio", "tracing"]),
];

/// The packages that a crate links, with their features.
fn linked(name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let form = "{p} {f}";
    let text = cargo(&[
        "tree",
        "--package",
        name,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        form,
    ]);
    let mut linked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        // `name v1.2.3 (path or proc-macro) features,with,commas (*)`
        let Some(package) = words.next() else {
            continue;
        };
        let features = words.skip(1).filter(|word| !word.starts_with('('));
        let features = features.flat_map(|list| list.split(',')).map(str::to_owned);
        linked
            .entry(package.to_owned())
            .or_default()
            .extend(features);
    }
    linked
}

#[test]
fn no_crate_links_what_is_not_its_business() {
    for (name, never) in NEVER {
        let linked = linked(name);
        assert!(
            linked.contains_key("serde_core") || linked.contains_key("nix"),
            "{linked:?}"
        );
        for one in never {
            let is_linked = match one.split_once('/') {
                Some((package, feature)) => linked
                    .get(package)
                    .is_some_and(|features| features.contains(feature)),
                None => linked.contains_key(*one),
            };
            assert!(
                !is_linked,
                "{name} links {one}; `cargo tree --package {name}` says why"
            );
        }
    }
}

#[test]
fn what_is_linked_is_seen_with_its_features() {
    let agent = linked("meta-cnid");
    assert!(agent["tonic"].contains("server"), "{:?}", agent["tonic"]);
    assert!(agent.contains_key("axum") && agent.contains_key("kube-runtime"));
}
