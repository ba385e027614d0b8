//! How networks are called, and which name their plugins and leases have.

use super::*;

#[test]
fn a_network_is_called_by_its_nad_else_by_its_configuration_and_never_by_a_path() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "10-a.conf", json!({"name": "a", "type": "ptp"}));
    write(
        dir.path(),
        "20-less.conf",
        json!({"type": "ptp", "cniVersion": "1.0.0"}),
    );
    let cluster = Nads::new(|name: &NadName| match name.name.as_str() {
        "blue" => Ok(nad(name, r#"{"name": "blue-net", "type": "bridge"}"#)),
        "a" if name.namespace == "shop" => Ok(nad(name, "")),
        _ => Err(not_found(name)),
    });
    let path = |file: &str| Source::Path(dir.path().join(file));
    let cases = [
        ("NAD", Source::Nad(name("shop/blue")), "shop/blue"),
        (
            "NAD with a file of confDir",
            Source::Nad(name("shop/a")),
            "shop/a",
        ),
        (
            "NAD before file",
            Source::NadOrFile(name("kube-system/blue")),
            "kube-system/blue",
        ),
        (
            "file without NAD",
            Source::NadOrFile(name("kube-system/a")),
            "a",
        ),
        ("file of confDir", Source::File("a".to_owned()), "a"),
        ("file", path("10-a.conf"), "a"),
        ("folder", path(""), "a"),
        ("file without a name", path("20-less.conf"), "20-less"),
        (
            "inline",
            Source::Inline(0, json!({"name": "lan", "type": "macvlan"})),
            "lan",
        ),
        (
            "inline without a name",
            Source::Inline(1, json!({"type": "macvlan"})),
            "delegates[1]",
        ),
    ];
    for (case, source, expected) in cases {
        let found = gather_one(dir.path(), &cluster, source.clone());
        assert_eq!(label(&source, &found), expected, "{case}");
        assert!(found.is_ok(), "{case}");
    }
    let missing = path("missing.conf");
    let found = gather_one(dir.path(), &cluster, missing.clone());
    assert_eq!(
        label(&missing, &found),
        missing.label(),
        "a missing file has no other name"
    );
}

#[test]
fn a_configuration_without_a_name_gets_that_of_its_nad_as_with_multus() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "10-first one.conf", json!({"type": "ptp"}));
    let cluster = Nads::new(|name: &NadName| Ok(nad(name, r#"{"type": "bridge"}"#)));
    let cases = [
        (Source::Nad(name("shop/blue")), "blue"),
        (Source::Nad(name("other/blue")), "blue"),
        (Source::NadOrFile(name("shop/a.b")), "a.b"),
        (Source::Inline(0, json!({"type": "bridge"})), "delegate0"),
        (
            Source::Inline(3, json!({"plugins": [{"type": "bridge"}]})),
            "delegate3",
        ),
        (
            Source::Path(dir.path().join("10-first one.conf")),
            "10-first-one",
        ),
    ];
    for (source, expected) in cases {
        let label = source.label();
        let found = gather_one(dir.path(), &cluster, source).unwrap();
        assert_eq!(found.list.name, expected, "{label}");
        assert!(cni::name::is_identifier(&found.list.name), "{label}");
    }
}

#[test]
fn leases_are_kept_apart_by_namespace_whatever_the_names_of_networks() {
    let dir = tempfile::tempdir().unwrap();
    let leasing = |name: Option<&str>| {
        let ipam = json!({"type": "meta-ipam", "pool": "p"});
        let foreign = json!({"type": "host-local"});
        let mut conf = json!({"plugins": [
            {"type": "bridge", "ipam": ipam}, {"type": "vlan", "ipam": foreign}, {"type": "tuning"},
        ]});
        if let Some(name) = name {
            conf["name"] = json!(name);
        }
        conf.to_string()
    };
    let cluster = Nads::new(|name: &NadName| {
        let own = (name.name == "named").then_some("lan");
        Ok(nad(name, &leasing(own)))
    });
    for (source, expected) in [
        ("shop/blue", json!("shop/blue")),
        ("other/blue", json!("other/blue")),
        ("shop/named", json!("shop/named")),
    ] {
        let found = gather_one(dir.path(), &cluster, Source::Nad(name(source))).unwrap();
        let network = |index: usize| match found.list.plugins[index].get("ipam") {
            Some(ipam) => ipam["network"].clone(),
            None => Value::Null,
        };
        assert_eq!(network(0), expected, "{source}");
        assert_eq!((network(1), network(2)), (Value::Null, Value::Null));
    }
}
