//! Imports go one way: a crate imports only crates that stand before it in [`ORDER`], and crates of one side do not know those
//! of the other.

use serde_json::json;

use crate::harness::workspace::metadata::{Imports, Of, imports, read};

/// All crates, each behind those that it may import.
const ORDER: [&str; 15] = [
    "proto",
    "crds",
    "cni-protocol",
    "netlink",
    "plugins",
    "ipam-core",
    "dial",
    "process",
    "meta-cni",
    "meta-cnid",
    "ipam-server",
    "ipamctl",
    "reference",
    "e2e",
    "fuzz",
];

/// Crates that know nothing of ours, or only what is named: they have readers outside, or draw a line.
const ALONE: [(&str, &[&str]); 8] = [
    ("proto", &[]),
    ("crds", &[]),
    ("cni-protocol", &[]),
    ("netlink", &[]),
    ("plugins", &["cni-protocol", "netlink"]),
    ("ipam-core", &[]),
    ("dial", &[]),
    ("process", &[]),
];

/// Crates that must not import those: the two products, and the tests, which see executables and the wire only.
const APART: [(&str, &[&str]); 5] = [
    ("meta-cni", &["ipam-server", "ipam-core", "ipamctl"]),
    ("meta-cnid", &["ipam-server", "ipam-core", "ipamctl"]),
    (
        "ipam-server",
        &[
            "meta-cni",
            "meta-cnid",
            "cni-protocol",
            "netlink",
            "plugins",
        ],
    ),
    (
        "ipamctl",
        &[
            "meta-cni",
            "meta-cnid",
            "cni-protocol",
            "netlink",
            "plugins",
        ],
    ),
    ("e2e", &["meta-cni", "meta-cnid", "ipam-server", "ipamctl"]),
];

/// Every import that is against the law, as a sentence.
fn breaches(imports: &Imports) -> Vec<String> {
    let place = |name: &str| ORDER.iter().position(|one| *one == name);
    let mut found = Vec::new();
    for (name, imported) in imports {
        let Some(own) = place(name) else {
            found.push(format!("{name} has no place in ORDER; give it one"));
            continue;
        };
        let alone = ALONE.iter().find(|(alone, _)| alone == name);
        let apart = APART.iter().find(|(apart, _)| apart == name);
        for one in imported {
            if place(one).is_none_or(|place| place >= own) {
                found.push(format!("{name} imports {one}, which is not below it"));
            }
            if alone.is_some_and(|(_, allowed)| !allowed.contains(&one.as_str())) {
                found.push(format!("{name} imports {one}, but stands alone"));
            }
            if apart.is_some_and(|(_, refused)| refused.contains(&one.as_str())) {
                found.push(format!("{name} imports {one}, from which it is kept apart"));
            }
        }
    }
    found
}

#[test]
fn every_import_goes_down_and_tests_import_no_more_than_that() {
    for of in [Of::Product, Of::Tests] {
        let imports = imports(of);
        assert!(imports.contains_key("meta-cni"), "{imports:?}");
        assert_eq!(breaches(&imports), Vec::<String>::new());
    }
}

#[test]
fn each_kind_of_breach_is_found() {
    let cases = [
        ("meta-cni", "meta-cnid", "not below it"),
        ("meta-cni", "meta-cni", "not below it"),
        ("dial", "proto", "stands alone"),
        ("ipam-server", "netlink", "kept apart"),
        ("somebody", "proto", "no place"),
        ("meta-cni", "somebody", "not below it"),
    ];
    for (from, to, words) in cases {
        let metadata = json!({"packages": [
            {"name": from, "dependencies": [
                {"name": to, "kind": null, "path": "/x"},
                {"name": "serde", "kind": null},
            ]},
        ]});
        let found = breaches(&read(&metadata, Of::Product));
        let is_found = found.iter().any(|breach| breach.contains(words));
        assert!(is_found, "{from} → {to}: {found:?}");
    }
    let dev = json!({"packages": [
        {"name": "dial", "dependencies": [{"name": "proto", "kind": "dev", "path": "/x"}]},
    ]});
    assert!(breaches(&read(&dev, Of::Product)).is_empty());
    assert!(!breaches(&read(&dev, Of::Tests)).is_empty());
}
