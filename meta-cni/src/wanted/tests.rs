//! Which networks a pod is to get, in tables: configuration and annotations in, sources out.

mod default_network;

use cni::error::Code;
use serde_json::json;

use super::*;
use crate::diagnosis::Explain as _;

fn config(value: Value) -> Config {
    Config::parse(value.as_object().unwrap()).unwrap()
}

/// A pod called `web` with these annotations.
fn pod(namespace: &str, annotations: &[(&str, &str)]) -> Pod {
    Pod {
        namespace: namespace.to_owned(),
        name: "web".to_owned(),
        annotations: annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..Pod::default()
    }
}

/// How the kind of a source and its label read in a table.
fn brief(source: &Source) -> String {
    let kind = match source {
        Source::Inline(..) => "inline",
        Source::Nad(_) => "nad",
        Source::NadOrFile(_) => "nad or file",
        Source::File(_) => "file",
        Source::Path(_) => "path",
        Source::Refused(..) => "refused",
    };
    format!("{kind} {}", source.label())
}

fn sources(config: &Config, pod: Option<&Pod>, clustered: bool) -> Vec<String> {
    wanted(config, pod, clustered)
        .unwrap()
        .iter()
        .map(|wanted| brief(&wanted.source))
        .collect()
}

fn problems(config: &Config, pod: &Pod) -> Vec<Problem> {
    wanted(config, Some(pod), true).unwrap_err().0
}

fn delegates() -> Value {
    json!([{"name": "lan", "type": "bridge"}, {"type": "macvlan"}])
}

#[test]
fn the_configuration_says_the_default_network_and_more() {
    let in_default = pod("default", &[]);
    let in_system = pod("kube-system", &[]);
    let inline = ["inline lan", "inline delegates[1]"].as_slice();
    let cases = [
        (
            "delegates",
            json!({"delegates": delegates()}),
            Some(&in_default),
            inline,
        ),
        (
            "delegates without a pod",
            json!({"delegates": delegates()}),
            None,
            inline,
        ),
        (
            "defaultNetworks do not count beside delegates",
            json!({"delegates": delegates(), "defaultNetworks": ["a"]}),
            Some(&in_default),
            inline,
        ),
        (
            "clusterNetwork wins over delegates",
            json!({"delegates": delegates(), "clusterNetwork": "calico"}),
            Some(&in_default),
            &["nad or file kube-system/calico"],
        ),
        (
            "an empty clusterNetwork is none",
            json!({"delegates": delegates(), "clusterNetwork": ""}),
            Some(&in_default),
            inline,
        ),
        (
            "defaultNetworks in their order",
            json!({"clusterNetwork": "calico", "defaultNetworks": ["b", "a", "b"]}),
            Some(&in_default),
            &[
                "nad or file kube-system/calico",
                "nad or file kube-system/b",
                "nad or file kube-system/a",
                "nad or file kube-system/b",
            ],
        ),
        (
            "not for pods of systemNamespaces",
            json!({"clusterNetwork": "calico", "defaultNetworks": ["a"]}),
            Some(&in_system),
            &["nad or file kube-system/calico"],
        ),
        (
            "systemNamespaces as configured",
            json!({"clusterNetwork": "calico", "defaultNetworks": ["a"], "systemNamespaces": ["default"]}),
            Some(&in_default),
            &["nad or file kube-system/calico"],
        ),
        (
            "and then for the usual one",
            json!({"clusterNetwork": "calico", "defaultNetworks": ["a"], "systemNamespaces": []}),
            Some(&in_system),
            &[
                "nad or file kube-system/calico",
                "nad or file kube-system/a",
            ],
        ),
        (
            "no pod, no defaultNetworks",
            json!({"clusterNetwork": "calico", "defaultNetworks": ["a"]}),
            None,
            &["nad or file kube-system/calico"],
        ),
        (
            "multusNamespace",
            json!({"clusterNetwork": "calico", "multusNamespace": "networks", "defaultNetworks": ["a"]}),
            Some(&in_default),
            &["nad or file networks/calico", "nad or file networks/a"],
        ),
        (
            "paths",
            json!({"clusterNetwork": "/etc/cni/a.conf", "defaultNetworks": ["/etc/cni/b.d"]}),
            Some(&in_default),
            &["path /etc/cni/a.conf", "path /etc/cni/b.d"],
        ),
    ];
    for (name, conf, pod, expected) in cases {
        assert_eq!(sources(&config(conf), pod, true), expected, "{name}");
    }
}

#[test]
fn without_a_cluster_names_are_those_of_files() {
    let config = config(json!({"clusterNetwork": "calico", "defaultNetworks": ["a", "/b"]}));
    let pod = pod("default", &[]);
    assert_eq!(
        sources(&config, Some(&pod), false),
        ["file calico", "file a", "path /b"]
    );
}

#[test]
fn a_pod_gets_what_it_selects_behind_the_others_and_in_its_order() {
    let config = config(json!({"clusterNetwork": "calico", "defaultNetworks": ["a"]}));
    let pod = pod(
        "shop",
        &[(selection::NETWORKS, "blue, other/green@g0, blue")],
    );
    assert_eq!(
        sources(&config, Some(&pod), true),
        [
            "nad or file kube-system/calico",
            "nad or file kube-system/a",
            "nad shop/blue",
            "nad other/green",
            "nad shop/blue",
        ]
    );
    let wanted = wanted(&config, Some(&pod), true).unwrap();
    assert_eq!(wanted[1].element, Element::default());
    assert_eq!(wanted[3].element.interface.as_deref(), Some("g0"));
}

#[test]
fn an_annotation_without_networks_asks_for_nothing() {
    let config = config(json!({"clusterNetwork": "calico"}));
    for text in ["", " ", "[]"] {
        let pod = pod(
            "shop",
            &[
                (selection::NETWORKS, text),
                (selection::DEFAULT_NETWORK, text),
            ],
        );
        assert_eq!(
            sources(&config, Some(&pod), true),
            ["nad or file kube-system/calico"],
            "{text:?}"
        );
    }
}

#[test]
fn namespace_isolation_keeps_pods_to_their_own_and_the_global_namespaces() {
    use selection::{DEFAULT_NETWORK, NETWORKS};
    let open = json!({"clusterNetwork": "calico"});
    let isolated = json!({"clusterNetwork": "calico", "namespaceIsolation": true});
    let shared = json!({
        "clusterNetwork": "calico", "namespaceIsolation": true,
        "globalNamespaces": " shared ,, common",
    });
    let cases = [
        ("off", &open, NETWORKS, "other/blue", true),
        ("its own, unqualified", &isolated, NETWORKS, "blue", true),
        ("its own, qualified", &isolated, NETWORKS, "shop/blue", true),
        (
            "global by default",
            &isolated,
            NETWORKS,
            "default/blue",
            true,
        ),
        ("another", &isolated, NETWORKS, "other/blue", false),
        (
            "the first global one",
            &shared,
            NETWORKS,
            "shared/blue",
            true,
        ),
        (
            "the second global one",
            &shared,
            NETWORKS,
            "common/blue",
            true,
        ),
        (
            "default is no longer global",
            &shared,
            NETWORKS,
            "default/blue",
            false,
        ),
        (
            "multusNamespace",
            &isolated,
            NETWORKS,
            "kube-system/blue",
            false,
        ),
        (
            "a default network, off",
            &open,
            DEFAULT_NETWORK,
            "other/blue",
            true,
        ),
        (
            "a default network, unqualified",
            &isolated,
            DEFAULT_NETWORK,
            "blue",
            false,
        ),
        (
            "a default network of its own",
            &isolated,
            DEFAULT_NETWORK,
            "shop/blue",
            true,
        ),
        (
            "a global default network",
            &shared,
            DEFAULT_NETWORK,
            "common/blue",
            true,
        ),
        (
            "another's default network",
            &isolated,
            DEFAULT_NETWORK,
            "other/blue",
            false,
        ),
        (
            "multusNamespace by its name",
            &isolated,
            DEFAULT_NETWORK,
            "kube-system/blue",
            false,
        ),
    ];
    for (name, conf, annotation, text, allowed) in cases {
        let pod = pod("shop", &[(annotation, text)]);
        let mut wanted = wanted(&config(conf.clone()), Some(&pod), true).unwrap();
        let source = if annotation == DEFAULT_NETWORK {
            wanted.remove(0).source
        } else {
            wanted.remove(1).source
        };
        match source {
            Source::Nad(_) => assert!(allowed, "{name}"),
            Source::Refused(network, why) => {
                assert!(!allowed, "{name}: {why}");
                assert!(network.to_string().ends_with(text), "{name}: {network}");
                assert!(why.cause.starts_with("namespaceIsolation"), "{name}: {why}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let config = config(json!({
        "clusterNetwork": "calico", "defaultNetworks": ["", "a"], "namespaceIsolation": true,
    }));
    let pod = pod(
        "shop",
        &[
            (selection::DEFAULT_NETWORK, "blue@eth0"),
            (selection::NETWORKS, "a/X, blue, b/Y"),
        ],
    );
    let error = wanted(&config, Some(&pod), true).unwrap_err();
    let subjects: Vec<_> = error.0.iter().map(|found| found.subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "configuration key defaultNetworks",
            "annotation v1.multus-cni.io/default-network",
            "annotation k8s.v1.cni.cncf.io/networks",
        ]
    );
    assert_eq!(error.code(), Code::INVALID_NETWORK_CONFIG);
    let text = error.diagnosis().to_string();
    assert!(
        subjects.iter().all(|subject| text.contains(subject)),
        "{text}"
    );
}

#[test]
fn all_problems_of_one_annotation_are_reported_at_once() {
    let text = r#"[{"name": "blue", "mac": "x"}, {"name": "green", "ips": ["10.0.0.300"]}]"#;
    let found = problems(
        &config(json!({"clusterNetwork": "calico"})),
        &pod("shop", &[(selection::NETWORKS, text)]),
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].subject, "annotation k8s.v1.cni.cncf.io/networks");
    for part in ["[0].mac", "[1].ips[0]"] {
        assert!(found[0].what.to_string().contains(part), "{found:?}");
    }
}

#[test]
fn a_configuration_without_a_network_is_refused_with_the_remedy() {
    for pod in [None, Some(&pod("shop", &[(selection::NETWORKS, "")]))] {
        let text = wanted(&Config::default(), pod, true)
            .unwrap_err()
            .diagnosis()
            .to_string();
        assert_eq!(
            text,
            "configuration: names no default network; set clusterNetwork, or delegates"
        );
    }
}

#[test]
fn a_pod_without_a_default_network_does_not_get_a_selected_one_as_that() {
    let pod = pod("shop", &[(selection::NETWORKS, "blue")]);
    let text = wanted(&Config::default(), Some(&pod), true)
        .unwrap_err()
        .diagnosis()
        .to_string();
    assert!(text.contains("no default network"), "{text}");
}

#[test]
fn the_default_network_is_known_without_a_pod() {
    let conf = config(json!({"clusterNetwork": "calico", "defaultNetworks": ["a"]}));
    let default = |clustered| default_network(&conf, clustered).map(|wanted| brief(&wanted.source));
    assert_eq!(
        default(true).as_deref(),
        Some("nad or file kube-system/calico")
    );
    assert_eq!(default(false).as_deref(), Some("file calico"));
    assert_eq!(default_network(&Config::default(), true), None);
}
