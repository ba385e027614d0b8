//! The annotation that replaces a pod's default network.

use super::*;

#[test]
fn the_default_network_annotation_replaces_the_default_network_only() {
    let cases = [
        (
            "unqualified: multusNamespace",
            "blue",
            "nad kube-system/blue",
        ),
        ("qualified", "other/blue", "nad other/blue"),
        ("JSON", r#"[{"name": "blue"}]"#, "nad kube-system/blue"),
        (
            "JSON with a namespace",
            r#"[{"name": "blue", "namespace": "shop"}]"#,
            "nad shop/blue",
        ),
    ];
    let config = config(json!({"clusterNetwork": "calico", "defaultNetworks": ["a"]}));
    for (name, text, expected) in cases {
        let pod = pod(
            "shop",
            &[
                (selection::DEFAULT_NETWORK, text),
                (selection::NETWORKS, "red"),
            ],
        );
        assert_eq!(
            sources(&config, Some(&pod), true),
            [expected, "nad or file kube-system/a", "nad shop/red"],
            "{name}"
        );
    }
}

#[test]
fn what_the_default_network_annotation_asks_of_its_network_is_kept() {
    let text = r#"[{"name": "blue", "ips": ["10.0.0.9"], "mac": "02:00:00:00:00:09"}]"#;
    let pod = pod("shop", &[(selection::DEFAULT_NETWORK, text)]);
    let wanted = wanted(&config(json!({"delegates": delegates()})), Some(&pod), true).unwrap();
    assert_eq!(wanted[0].element.ips, ["10.0.0.9"]);
    assert_eq!(wanted[0].element.mac.as_deref(), Some("02:00:00:00:00:09"));
    assert_eq!(
        wanted[1].element,
        Element::default(),
        "the second delegate is not the default network"
    );
}

#[test]
fn the_default_network_annotation_serves_where_the_configuration_has_none() {
    let pod = pod("shop", &[(selection::DEFAULT_NETWORK, "blue")]);
    assert_eq!(
        sources(&Config::default(), Some(&pod), true),
        ["nad kube-system/blue"]
    );
}

#[test]
fn an_impossible_default_network_annotation_is_refused() {
    let cases = [
        ("two", "blue,green", "more than one network"),
        ("an interface", "blue@net1", "names an interface"),
        (
            "an interface in JSON",
            r#"[{"name": "blue", "interface": "eth0"}]"#,
            "names an interface",
        ),
        ("not a name", "Blue!", "Blue!"),
        ("not JSON", "[{", "JSON"),
    ];
    let config = config(json!({"clusterNetwork": "calico"}));
    for (name, text, expected) in cases {
        let found = problems(&config, &pod("shop", &[(selection::DEFAULT_NETWORK, text)]));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(
            found[0].subject, "annotation v1.multus-cni.io/default-network",
            "{name}"
        );
        assert!(
            found[0].what.to_string().contains(expected),
            "{name}: {found:?}"
        );
    }
}
