//! What policies, the built-in rules and the floor come to, by table.

mod rules;

use std::time::Duration;

use cni::error::Code;
use cni::netconf::NetConfList;
use serde_json::{Value, json};

use super::*;
use crate::author::Author;
use crate::cluster::{ClusterError, Event, Nad, NadName, PodRef, Policy};
use crate::selection::Element;
use crate::wanted::Source;

/// Knows these policies of namespace `a`, or why not.
struct Policies(Result<Vec<Policy>, fn() -> ClusterError>);

impl Cluster for Policies {
    fn pod(&self, _: &PodRef) -> Result<Pod, ClusterError> {
        unreachable!("only policies are asked for")
    }

    fn networks(&self, _: &[NadName]) -> Vec<Result<Nad, ClusterError>> {
        unreachable!("only policies are asked for")
    }

    fn policies(&self, namespaces: &[String]) -> Result<Vec<Vec<Policy>>, ClusterError> {
        let known = self.0.as_ref().map_err(|error| error())?;
        let of = |namespace: &String| match namespace.as_str() {
            "a" => known.clone(),
            _ => Vec::new(),
        };
        Ok(namespaces.iter().map(of).collect())
    }

    fn report(&self, _: &Pod, _: Option<&str>, _: &[Event]) -> Result<(), ClusterError> {
        unreachable!("only policies are asked for")
    }

    fn ready(&self, _: Duration) -> Result<(), ClusterError> {
        unreachable!("only policies are asked for")
    }
}

fn policies(specs: &[Value]) -> Policies {
    let policy = |(index, spec): (usize, &Value)| Policy {
        name: format!("p{index}"),
        spec: spec.to_string(),
    };
    Policies(Ok(specs.iter().enumerate().map(policy).collect()))
}

fn config(value: Value) -> Config {
    Config {
        attachment_policy: serde_json::from_value(value).unwrap(),
        ..Config::default()
    }
}

/// A spec for all namespaces with these fields.
fn spec(fields: Value) -> Value {
    let mut spec = json!({"namespaceSelector": {}, "plugins": {"main": ["macvlan"]}});
    for (key, value) in fields.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

fn network(conf: Value) -> Result<Found, Problem> {
    let mut list = NetConfList::from_value(conf).unwrap();
    list.name = "red".to_owned();
    Ok(Found {
        network: "a/red".to_owned(),
        author: Author::Tenant,
        ..Found::of(list).unwrap()
    })
}

fn wanted_of(namespace: &str, element: Element) -> Wanted {
    let name = "red".to_owned();
    let namespace = namespace.to_owned();
    Wanted {
        source: Source::Nad(NadName { namespace, name }),
        element,
    }
}

fn default() -> (Wanted, Result<Found, Problem>) {
    let conf = json!({"name": "default", "type": "calico", "logFile": "/var/log/calico.log"});
    let source = Source::Inline(0, conf.clone());
    let found = Found::of(NetConfList::from_value(conf).unwrap()).unwrap();
    (
        Wanted {
            source,
            element: Element::default(),
        },
        Ok(found),
    )
}

/// What a pod of namespace `a` is refused, with one network `a/red` beside the default one.
fn refused(config: &Config, cluster: &Policies, conf: Value, element: Element) -> Option<Problem> {
    let (first, default) = default();
    let pod = Pod {
        namespace: "a".to_owned(),
        ..Pod::default()
    };
    let wanted = [first, wanted_of("a", element)];
    let found = vec![default, network(conf)];
    let found = enforce(config, Some(cluster), Some(&pod), &wanted, found);
    assert!(found[0].is_ok(), "the node's own network is not judged");
    found[1].as_ref().err().cloned()
}

#[test]
fn where_no_policy_matches_the_mode_decides() {
    let open = || json!({"type": "tuning", "ipam": {}});
    let plain = || json!({"type": "macvlan", "master": "eth0", "ipam": {"type": "host-local", "subnet": "10.0.0.0/24"}});
    for (mode, conf, is_refused) in [
        ("enforce", plain(), false),
        ("enforce", open(), true),
        (
            "enforce",
            json!({"type": "ptp", "ipam": {"type": "meta-ipam", "pool": "blue"}}),
            false,
        ),
        (
            "enforce",
            json!({"type": "vlan", "ipam": {"type": "dhcp"}}),
            true,
        ),
        (
            "enforce",
            json!({"type": "bridge", "ipam": {"type": "host-local", "dataDir": "x"}}),
            true,
        ),
        (
            "enforce",
            json!({"type": "bridge", "ipam": {"type": "host-local", "resolvConf": "/etc/shadow"}}),
            true,
        ),
        (
            "enforce",
            json!({"type": "bridge", "ipam": {"type": "static", "any": ["/etc"]}}),
            true,
        ),
        (
            "enforce",
            json!({"type": "host-device", "device": "eth0"}),
            true,
        ),
        (
            "enforce",
            json!({"plugins": [{"type": "bridge"}, {"type": "tuning"}]}),
            true,
        ),
        ("report", open(), false),
        ("off", open(), false),
    ] {
        let found = refused(
            &config(json!(mode)),
            &policies(&[]),
            conf.clone(),
            Element::default(),
        );
        assert_eq!(found.is_some(), is_refused, "{mode} {conf}: {found:?}");
    }
}

#[test]
fn a_refusal_names_key_value_namespace_and_remedy_and_nothing_that_is_allowed() {
    let spec = spec(json!({"types": [{"type": "macvlan", "masters": ["secret0"]}]}));
    let conf = json!({"type": "macvlan", "master": "eth9"});
    let found = refused(
        &config(json!("report")),
        &policies(&[spec]),
        conf,
        Element::default(),
    );
    let found = found.unwrap();
    assert_eq!(found.code, Code::INVALID_NETWORK_CONFIG);
    assert_eq!(found.subject, "network a/red");
    assert_eq!(
        found.what.to_string(),
        "no AttachmentPolicy allows master \"eth9\" of macvlan; ask the administrator for one that allows it in namespace a"
    );
}

#[test]
fn policies_add_up_but_one_must_allow_the_whole() {
    let one = || {
        spec(
            json!({"types": [{"type": "macvlan", "masters": ["eth1"]}], "requestedAddresses": "Deny"}),
        )
    };
    let other = || spec(json!({"types": [{"type": "macvlan", "masters": ["eth2"]}]}));
    let broken = || json!({"namespaceSelector": {}, "plugins": 7});
    let conf = |master: &str| json!({"type": "macvlan", "master": master});
    let ips = || Element {
        ips: vec!["10.0.0.5".to_owned()],
        ..Element::default()
    };
    for (known, conf, element, is_allowed) in [
        (vec![one(), other()], conf("eth1"), Element::default(), true),
        (vec![one(), other()], conf("eth2"), Element::default(), true),
        (
            vec![one(), other()],
            conf("eth3"),
            Element::default(),
            false,
        ),
        (vec![one(), other()], conf("eth2"), ips(), true),
        (vec![one(), other()], conf("eth1"), ips(), false),
        (vec![broken()], conf("eth1"), Element::default(), false),
        (
            vec![broken(), one()],
            conf("eth1"),
            Element::default(),
            true,
        ),
    ] {
        let found = refused(&config(json!("report")), &policies(&known), conf, element);
        assert_eq!(found.is_none(), is_allowed, "{known:?}: {found:?}");
    }
}

#[test]
fn what_a_pod_asks_for_is_judged_by_the_policies_of_its_own_namespace() {
    let rules = spec(json!({"requestedAddresses": "Deny", "maxNetworks": 1}));
    let pod = Pod {
        namespace: "a".to_owned(),
        ..Pod::default()
    };
    let ips = Element {
        ips: vec!["10.0.0.5".to_owned()],
        ..Element::default()
    };
    let args = json!({"ips": ["10.0.0.5"]}).as_object().cloned();
    let by_args = Element {
        cni_args: args,
        ..Element::default()
    };
    let plain = Element::default;
    for (what, wanted, refused) in [
        (
            "one network",
            vec![default().0, wanted_of("b", plain())],
            vec![],
        ),
        (
            "an address",
            vec![default().0, wanted_of("b", ips)],
            vec![1],
        ),
        (
            "an address by cni-args",
            vec![default().0, wanted_of("b", by_args)],
            vec![1],
        ),
        (
            "two networks",
            vec![
                default().0,
                wanted_of("b", plain()),
                wanted_of("b", plain()),
            ],
            vec![2],
        ),
        (
            "another default network",
            vec![wanted_of("a", plain())],
            vec![0],
        ),
    ] {
        let found: Vec<_> = wanted
            .iter()
            .map(|_| network(json!({"type": "macvlan"})))
            .collect();
        let found = enforce(
            &config(json!("report")),
            Some(&policies(std::slice::from_ref(&rules))),
            Some(&pod),
            &wanted,
            found,
        );
        let is_refused = (0..found.len()).filter(|index| found[*index].is_err());
        assert_eq!(is_refused.collect::<Vec<_>>(), refused, "{what}: {found:?}");
    }
}

#[test]
fn the_floor_holds_in_every_mode_and_under_every_policy() {
    let floor = json!({"plugins": {"main": ["macvlan", "bridge"]}, "types": [{"type": "macvlan", "masters": ["eth1"]}]});
    let generous = || policies(&[spec(json!({"plugins": {"main": ["macvlan", "ptp"]}}))]);
    for (mode, known, conf, is_allowed) in [
        ("off", policies(&[]), json!({"type": "bridge"}), true),
        ("off", policies(&[]), json!({"type": "ptp"}), false),
        ("report", generous(), json!({"type": "ptp"}), false),
        (
            "enforce",
            generous(),
            json!({"type": "macvlan", "master": "eth2"}),
            false,
        ),
        (
            "enforce",
            generous(),
            json!({"type": "macvlan", "master": "eth1"}),
            true,
        ),
        ("enforce", generous(), json!({"type": "bridge"}), false),
    ] {
        let config = config(json!({"mode": mode, "floor": floor}));
        let found = refused(&config, &known, conf.clone(), Element::default());
        assert_eq!(found.is_none(), is_allowed, "{mode} {conf}: {found:?}");
    }
}

#[test]
fn who_does_not_know_the_policies_refuses_unless_they_only_would_be_reported() {
    let forbidden = || ClusterError::Forbidden {
        what: "list".to_owned(),
        remedy: String::new(),
        source: "403".into(),
    };
    let silent = || ClusterError::Unavailable {
        what: "list".to_owned(),
        remedy: String::new(),
        source: "503".into(),
    };
    for (mode, error, expected) in [
        (
            "enforce",
            forbidden as fn() -> ClusterError,
            Some(Code::INVALID_NETWORK_CONFIG),
        ),
        ("enforce", silent, Some(Code::TRY_AGAIN_LATER)),
        ("report", forbidden, None),
        ("report", silent, Some(Code::TRY_AGAIN_LATER)),
        ("off", forbidden, None),
    ] {
        let conf = json!({"type": "tuning"});
        let found = refused(
            &config(json!(mode)),
            &Policies(Err(error)),
            conf,
            Element::default(),
        );
        assert_eq!(found.map(|found| found.code), expected, "{mode}");
    }
}

#[test]
fn a_file_of_the_administrator_that_a_definition_names_is_not_judged() {
    let own = NetConfList::from_value(json!({"name": "red", "type": "tuning"})).unwrap();
    let pod = Pod {
        namespace: "a".to_owned(),
        ..Pod::default()
    };
    let wanted = [default().0, wanted_of("a", Element::default())];
    let found = vec![default().1, Ok(Found::of(own).unwrap())];
    let found = enforce(
        &config(json!("enforce")),
        Some(&policies(&[])),
        Some(&pod),
        &wanted,
        found,
    );
    assert!(found.iter().all(Result::is_ok), "{found:?}");
}
