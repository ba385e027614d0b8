//! Configurations from everywhere they can be, with a cluster that answers as the test says.

mod names;

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use cni::error::Code;
use serde_json::{Value, json};

use super::*;
use crate::cluster::{Event, Pod, PodRef};
use crate::selection::Element;

/// Answers questions for networks only, and keeps them.
struct Nads<A> {
    answer: A,
    asked: Mutex<Vec<Vec<NadName>>>,
}

impl<A: Fn(&NadName) -> Result<Nad, ClusterError> + Sync> Nads<A> {
    fn new(answer: A) -> Self {
        Nads {
            answer,
            asked: Mutex::default(),
        }
    }
}

impl<A: Fn(&NadName) -> Result<Nad, ClusterError> + Sync> Cluster for Nads<A> {
    fn pod(&self, pod: &PodRef) -> Result<Pod, ClusterError> {
        panic!("asked for pod {pod}")
    }

    fn networks(&self, names: &[NadName]) -> Vec<Result<Nad, ClusterError>> {
        self.asked.lock().unwrap().push(names.to_vec());
        names.iter().map(&self.answer).collect()
    }

    fn policies(&self, _: &[String]) -> Result<Vec<Vec<crate::cluster::Policy>>, ClusterError> {
        unreachable!("only networks are asked for")
    }

    fn report(&self, pod: &Pod, _: Option<&str>, _: &[Event]) -> Result<(), ClusterError> {
        panic!("a report of pod {}", pod.name)
    }

    fn ready(&self, _: Duration) -> Result<(), ClusterError> {
        panic!("asked whether it is ready")
    }
}

fn name(text: &str) -> NadName {
    let (namespace, name) = text.split_once('/').unwrap();
    NadName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn nad(name: &NadName, config: &str) -> Nad {
    Nad {
        name: name.clone(),
        config: config.to_owned(),
        resource_name: None,
    }
}

fn not_found(name: &NadName) -> ClusterError {
    ClusterError::NotFound {
        what: format!("NetworkAttachmentDefinition {name}"),
    }
}

fn unavailable() -> ClusterError {
    ClusterError::Unavailable {
        what: "get networks from https://10.0.0.1:6443".to_owned(),
        remedy: "see whether the API server is up".to_owned(),
        source: "connection refused".into(),
    }
}

fn want(source: Source) -> Wanted {
    Wanted {
        source,
        element: Element::default(),
    }
}

/// A configuration whose confDir is `dir`.
fn config(dir: &Path) -> Config {
    Config {
        conf_dir: dir.to_owned(),
        ..Config::default()
    }
}

fn write(dir: &Path, file: &str, value: Value) {
    std::fs::write(dir.join(file), value.to_string()).unwrap();
}

/// What one source comes to, with a confDir and a cluster.
fn gather_one(dir: &Path, cluster: &dyn Cluster, source: Source) -> Result<Found, Problem> {
    let mut found = gather(&config(dir), Some(cluster), &[want(source)]);
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[test]
fn each_source_is_read_where_it_says() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "10-a.conf", json!({"name": "a", "type": "ptp"}));
    write(
        dir.path(),
        "20-b.conf",
        json!({"name": "b", "type": "vlan"}),
    );
    let cluster = Nads::new(|name: &NadName| match name.name.as_str() {
        "blue" => Ok(nad(name, r#"{"name": "blue-net", "type": "bridge"}"#)),
        "empty" => Ok(nad(name, "")),
        "b" => Ok(nad(name, " \n")),
        _ => Err(not_found(name)),
    });
    let cases = [
        (
            "inline",
            Source::Inline(0, json!({"name": "lan", "type": "macvlan"})),
            ("lan", "macvlan"),
        ),
        (
            "NAD",
            Source::Nad(name("shop/blue")),
            ("blue-net", "bridge"),
        ),
        (
            "an empty configuration names a file of confDir",
            Source::Nad(name("shop/b")),
            ("b", "vlan"),
        ),
        (
            "NAD before file",
            Source::NadOrFile(name("kube-system/blue")),
            ("blue-net", "bridge"),
        ),
        (
            "file without NAD",
            Source::NadOrFile(name("kube-system/a")),
            ("a", "ptp"),
        ),
        ("file", Source::File("b".to_owned()), ("b", "vlan")),
        (
            "path of a file",
            Source::Path(dir.path().join("20-b.conf")),
            ("b", "vlan"),
        ),
        (
            "path of a folder: its first file",
            Source::Path(dir.path().to_owned()),
            ("a", "ptp"),
        ),
    ];
    for (case, source, expected) in cases {
        let list = gather_one(dir.path(), &cluster, source).unwrap().list;
        assert_eq!(
            (list.name.as_str(), list.plugins[0].plugin_type()),
            expected,
            "{case}"
        );
    }
}

#[test]
fn what_cannot_be_used_is_reported_with_its_network() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Nads::new(|name: &NadName| match name.name.as_str() {
        "text" => Ok(nad(name, "{")),
        "typeless" => Ok(nad(name, r#"{"plugins": [{"type": "bridge"}, {}]}"#)),
        "empty" => Ok(nad(name, "")),
        _ => Err(not_found(name)),
    });
    let cases = [
        (
            Source::Nad(name("shop/blue")),
            &["there is no such NetworkAttachmentDefinition", "create it"][..],
        ),
        (
            Source::NadOrFile(name("shop/blue")),
            &[
                "there is no such NetworkAttachmentDefinition, and no file",
                "\"blue\"",
            ],
        ),
        (Source::Nad(name("shop/text")), &["not valid JSON"]),
        (Source::Nad(name("shop/typeless")), &["plugins[1].type"]),
        (
            Source::Nad(name("shop/empty")),
            &["no file in", "\"empty\""],
        ),
        (
            Source::Refused(name("other/blue"), "it is another's".into()),
            &["it is another's"],
        ),
        (Source::File("blue".to_owned()), &["no file in", "\"blue\""]),
        (
            Source::Path("/nonexistent/x.conf".into()),
            &["reading /nonexistent/x.conf", "No such file"],
        ),
        (Source::Path(dir.path().to_owned()), &["has no file"]),
        (
            Source::Inline(1, json!({"type": "../sh"})),
            &["its configuration is not valid", "type"],
        ),
        (Source::Inline(1, Value::Null), &["must be a JSON object"]),
    ];
    for (source, expected) in cases {
        let subject = format!("network {}", source.label());
        let problem = gather_one(dir.path(), &cluster, source).unwrap_err();
        assert_eq!(problem.subject, subject);
        assert_eq!(problem.code, Code::INVALID_NETWORK_CONFIG, "{problem:?}");
        for part in expected {
            assert!(
                problem.what.to_string().contains(part),
                "{part:?}: {problem:?}"
            );
        }
    }
}

#[test]
fn a_cluster_that_does_not_answer_is_asked_again_later() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "10-blue.conf",
        json!({"name": "blue", "type": "ptp"}),
    );
    let away = Nads::new(|_: &NadName| Err(unavailable()));
    for source in [
        Source::Nad(name("shop/blue")),
        Source::NadOrFile(name("shop/blue")),
    ] {
        let problem = gather_one(dir.path(), &away, source).unwrap_err();
        assert_eq!(problem.code, Code::TRY_AGAIN_LATER, "{problem:?}");
        assert_eq!(
            problem.what.to_string(),
            "get networks from https://10.0.0.1:6443: connection refused; see whether the API server is up",
            "a file does not stand in for an answer that is still to come"
        );
    }
    let closed = Nads::new(|_: &NadName| {
        Err(ClusterError::Forbidden {
            what: "get networks".to_owned(),
            remedy: crate::cluster::GRANT_RIGHTS.to_owned(),
            source: "403".into(),
        })
    });
    let problem = gather_one(dir.path(), &closed, Source::Nad(name("shop/blue"))).unwrap_err();
    assert_eq!(problem.code, Code::INVALID_NETWORK_CONFIG);
    assert!(problem.what.to_string().contains("rbac"), "{problem:?}");
}

#[test]
fn every_network_is_asked_for_once_and_answered_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Nads::new(|name: &NadName| match name.name.as_str() {
        "gone" => Err(not_found(name)),
        "late" => Err(unavailable()),
        _ => Ok(nad(
            name,
            &json!({"name": name.name, "type": "bridge"}).to_string(),
        )),
    });
    let sources = [
        Source::NadOrFile(name("kube-system/zeta")),
        Source::Inline(1, json!({"name": "lan", "type": "ptp"})),
        Source::Nad(name("shop/gone")),
        Source::Nad(name("shop/blue")),
        Source::Nad(name("shop/late")),
        Source::Refused(name("other/red"), "it is another's".into()),
        Source::Nad(name("kube-system/zeta")),
        Source::Nad(name("shop/blue")),
        Source::Nad(name("shop/gone")),
    ];
    let wanted: Vec<_> = sources.into_iter().map(want).collect();
    let found = gather(&config(dir.path()), Some(&cluster), &wanted);
    let found: Vec<_> = found
        .iter()
        .map(|found| match found {
            Ok(found) => found.list.name.as_str(),
            Err(problem) => problem.subject.as_str(),
        })
        .collect();
    assert_eq!(
        found,
        [
            "zeta",
            "lan",
            "network shop/gone",
            "blue",
            "network shop/late",
            "network other/red",
            "zeta",
            "blue",
            "network shop/gone",
        ]
    );
    let asked = cluster.asked.lock().unwrap();
    assert_eq!(asked.len(), 1, "one question for all: {asked:?}");
    let mut names: Vec<_> = asked[0].iter().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(
        names,
        ["kube-system/zeta", "shop/blue", "shop/gone", "shop/late"]
    );
}

#[test]
fn without_a_cluster_no_nad_is_there() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "10-blue.conf",
        json!({"name": "blue", "type": "ptp"}),
    );
    let gather = |source| gather(&config(dir.path()), None, &[want(source)]).remove(0);
    let problem = gather(Source::Nad(name("shop/blue"))).unwrap_err();
    assert_eq!(problem.code, Code::INVALID_NETWORK_CONFIG);
    let found = gather(Source::NadOrFile(name("shop/blue"))).unwrap();
    assert_eq!(found.list.plugins[0].plugin_type(), "ptp");
}

#[test]
fn the_resource_of_a_nad_is_kept_also_if_its_configuration_is_a_file() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "10-sriov.conf",
        json!({"name": "sriov", "type": "sriov"}),
    );
    let cluster = Nads::new(|name: &NadName| {
        Ok(Nad {
            resource_name: Some("intel.com/vf".to_owned()),
            ..nad(
                name,
                if name.namespace == "shop" {
                    r#"{"type": "sriov"}"#
                } else {
                    ""
                },
            )
        })
    });
    for nad in ["shop/sriov", "other/sriov"] {
        let found = gather_one(dir.path(), &cluster, Source::Nad(name(nad))).unwrap();
        assert_eq!(
            found.resource_name.as_deref(),
            Some("intel.com/vf"),
            "{nad}"
        );
    }
}
