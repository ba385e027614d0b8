//! What configurations mean, and which are refused.

use std::path::Path;

use serde_json::json;

use super::*;

fn parse(value: Value) -> Result<Config, ConfigError> {
    Config::parse(value.as_object().unwrap())
}

#[test]
fn a_thin_multus_configuration_is_one_of_ours() {
    let config = parse(json!({
        "cniVersion": "0.3.1", "name": "multus-cni-network", "type": "meta-cni",
        "capabilities": {"portMappings": true},
        "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
        "clusterNetwork": "default-cni", "defaultNetworks": ["a"], "systemNamespaces": ["x"],
        "namespaceIsolation": true, "globalNamespaces": "default, shared",
        "readinessindicatorfile": "/run/ready", "confDir": "", "logLevel": "verbose",
        "logOptions": {"maxAge": 5}, "retryDeleteOnError": true, "auxiliaryCNIChainName": "vendor",
    }))
    .unwrap();
    assert_eq!(config.cluster_network.as_deref(), Some("default-cni"));
    assert_eq!(
        config.global_namespaces().collect::<Vec<_>>(),
        ["default", "shared"]
    );
    assert_eq!(config.conf_dir, PathBuf::from("/etc/cni/multus/net.d"));
    assert_eq!(
        config.readiness_indicator_file,
        Some(PathBuf::from("/run/ready"))
    );
}

#[test]
fn nothing_given_means_the_documented_defaults() {
    let config = parse(json!({"kubeconfig": "", "delegates": null})).unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn an_agent_that_was_there_once_is_asked_unless_the_configuration_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("state");
    let agent = |socket: Value| {
        let config = parse(json!({"stateDir": state_dir, "agentSocket": socket}));
        config.unwrap().agent()
    };
    let usual = Path::new(AGENT_SOCKET);
    let usual = usual.exists().then_some(AGENT_SOCKET);
    assert_eq!(agent(Value::Null), usual.map(PathBuf::from));
    note_agent(&state_dir, Path::new("/run/old.sock")).unwrap();
    note_agent(&state_dir, Path::new("/run/x.sock")).unwrap();
    for (socket, expected) in [
        (Value::Null, usual.or(Some("/run/x.sock"))),
        (json!("/run/y.sock"), Some("/run/y.sock")),
        (json!(""), None),
    ] {
        assert_eq!(agent(socket), expected.map(PathBuf::from));
    }
}

#[test]
fn a_name_is_needed_and_is_an_identifier() {
    let name = |name: Value| parse(json!({ "name": name })).unwrap().check_name();
    assert_eq!(name(json!("multus-cni.network_1")), Ok(()));
    for bad in [
        json!(null),
        json!(""),
        json!("a/b"),
        json!("-a"),
        json!("a b"),
    ] {
        let ConfigError::Key { key, .. } = name(bad).unwrap_err();
        assert_eq!(key, "name");
    }
}

#[test]
fn a_bad_value_is_refused_by_its_key() {
    let cases = [
        (json!({"maxParallelDelegates": 0}), "maxParallelDelegates"),
        (json!({"maxParallelDelegates": "4"}), "maxParallelDelegates"),
        (
            json!({"delegateTimeoutSeconds": 0}),
            "delegateTimeoutSeconds",
        ),
        (json!({"defaultNetworks": ["a", 1]}), "defaultNetworks[1]"),
        (json!({"stateDir": "var"}), "stateDir"),
        (json!({"networksDir": "networks"}), "networksDir"),
        (
            json!({"delegateTimeoutSeconds": i64::MAX}),
            "delegateTimeoutSeconds",
        ),
        (
            json!({"readinessTimeoutSeconds": 86_401}),
            "readinessTimeoutSeconds",
        ),
        (json!({"onStatusFailure": "perhaps"}), "onStatusFailure"),
        (json!({"dadTimeoutSeconds": -1}), "dadTimeoutSeconds"),
        (
            json!({"acceptRouterAdvertisements": "some"}),
            "acceptRouterAdvertisements",
        ),
    ];
    for (conf, expected) in cases {
        match parse(conf.clone()) {
            Err(ConfigError::Key { key, .. }) => assert_eq!(key, expected),
            other => panic!("{conf}: {other:?}"),
        }
    }
}
