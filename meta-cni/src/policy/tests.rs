//! What policies, the built-in rules and the floor come to, by table.

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
fn each_rule_of_a_policy_refuses_what_it_does_not_allow() {
    let macvlan = |more: Value| {
        let mut conf = json!({"type": "macvlan"});
        for (key, value) in more.as_object().unwrap() {
            conf[key] = value.clone();
        }
        conf
    };
    let types = |rule: Value| {
        spec(json!({
            "plugins": {
                "main": ["macvlan", "bridge", "host-device", "tuning", "sriov"],
                "chained": ["tuning"], "ipam": ["static", "host-local", "meta-ipam"],
            },
            "types": [rule], "pools": ["blue", "team-a-*"],
        }))
    };
    let masters = || types(json!({"type": "macvlan", "masters": ["eth1", "bond*"]}));
    let statics = || types(json!({"type": "static", "prefixes": ["10.1.0.0/16", "fd00::/48"]}));
    let fixed = |address: &str| {
        macvlan(json!({"ipam": {"type": "static", "addresses": [{"address": address}]}}))
    };
    let local = || types(json!({"type": "host-local", "prefixes": ["10.1.0.0/16"]}));
    let tuning = || types(json!({"type": "tuning", "sysctls": ["net.ipv4.conf.IFNAME.*"]}));
    let sysctl = |name: &str| json!({"type": "tuning", "sysctl": {name: "1"}});
    let pool = |ipam: Value| macvlan(json!({"ipam": ipam}));
    let any = || types(json!({"type": "vlan"}));
    for (rules, conf, is_allowed) in [
        (masters(), macvlan(json!({"master": "eth1"})), true),
        (masters(), macvlan(json!({"master": "bond0.5"})), true),
        (masters(), macvlan(json!({"master": "eth10"})), false),
        (masters(), macvlan(json!({})), false),
        (masters(), macvlan(json!({"master": ["eth1"]})), false),
        (
            types(json!({"type": "bridge", "bridges": ["br-a"]})),
            json!({"type": "bridge", "bridge": "br-a"}),
            true,
        ),
        (
            types(json!({"type": "bridge", "bridges": ["br-a"]})),
            json!({"type": "bridge"}),
            false,
        ),
        (
            types(json!({"type": "bridge", "bridges": ["cni0"]})),
            json!({"type": "bridge", "bridge": ""}),
            true,
        ),
        (
            types(json!({"type": "macvlan", "keys": {"deny": ["mtu"]}})),
            macvlan(json!({"MTU": 9000})),
            false,
        ),
        (
            types(json!({"type": "macvlan", "keys": {"deny": ["mtu"]}})),
            macvlan(json!({"mode": "bridge"})),
            true,
        ),
        (
            types(json!({"type": "macvlan", "keys": {"allow": ["master"]}})),
            macvlan(json!({"master": "x", "cniVersion": "1.0.0"})),
            true,
        ),
        (
            types(json!({"type": "macvlan", "keys": {"allow": ["master"]}})),
            macvlan(json!({"mode": "bridge"})),
            false,
        ),
        (
            types(json!({"type": "host-local", "keys": {"allow": ["dataDir"]}})),
            macvlan(json!({"ipam": {"type": "host-local", "dataDir": "/run/x"}})),
            true,
        ),
        (
            types(json!({"type": "host-local", "keys": {"deny": []}})),
            macvlan(json!({"ipam": {"type": "host-local", "dataDir": "/run/x"}})),
            false,
        ),
        (
            any(),
            macvlan(json!({"ipam": {"type": "host-local", "DATADIR": "x"}})),
            false,
        ),
        (
            any(),
            macvlan(json!({"anything": {"deep": ["unix:/run/x.sock"]}})),
            false,
        ),
        (any(), macvlan(json!({"anything": "a/../../b"})), false),
        (statics(), fixed("10.1.2.3/24"), true),
        (statics(), fixed("fd00::5/64"), true),
        (statics(), fixed("10.2.2.3/24"), false),
        (
            statics(),
            macvlan(json!({"ipam": {"type": "static"}, "args": {"cni": {"ips": ["10.2.0.1/24"]}}})),
            false,
        ),
        (
            statics(),
            macvlan(json!({"ipam": {"type": "static"}, "runtimeConfig": {"ips": ["10.2.0.1/24"]}})),
            false,
        ),
        (
            statics(),
            macvlan(json!({"ipam": {"type": "static", "addresses": ["10.1.0.1/24"]}})),
            false,
        ),
        (
            local(),
            macvlan(json!({"ipam": {"type": "host-local", "subnet": "10.1.5.0/24"}})),
            true,
        ),
        (
            local(),
            macvlan(json!({"ipam": {"type": "host-local", "subnet": "10.0.0.0/8"}})),
            false,
        ),
        (
            local(),
            macvlan(
                json!({"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.5.0/24"}], [{"subnet": "10.9.0.0/24"}]]}}),
            ),
            false,
        ),
        (tuning(), sysctl("net.ipv4.conf.IFNAME.arp_filter"), true),
        (tuning(), sysctl("net/ipv4/conf/IFNAME/arp_filter"), true),
        (tuning(), sysctl("net.core.somaxconn"), false),
        (
            tuning(),
            sysctl("net.ipv4.conf.IFNAME./../../../../kernel/core_pattern"),
            false,
        ),
        (any(), sysctl("../../kernel/core_pattern"), false),
        (any(), json!({"type": "tuning", "sysctl": ["a"]}), false),
        (
            any(),
            json!({"type": "host-device", "device": "eth5"}),
            false,
        ),
        (any(), json!({"type": "host-device"}), false),
        (
            types(json!({"type": "host-device", "devices": ["eth5"]})),
            json!({"type": "host-device", "device": "eth5"}),
            true,
        ),
        (
            types(json!({"type": "host-device", "devices": ["eth5"]})),
            json!({"type": "host-device", "device": "eth0"}),
            false,
        ),
        (
            types(json!({"type": "host-device", "devices": ["eth5"]})),
            json!({"type": "host-device", "device": "eth5", "pciBusID": "0000:00:01.0"}),
            false,
        ),
        (
            any(),
            json!({"type": "sriov", "deviceID": "0000:00:01.0"}),
            false,
        ),
        (
            any(),
            pool(json!({"type": "meta-ipam", "pool": "blue"})),
            true,
        ),
        (
            any(),
            pool(json!({"type": "meta-ipam", "pools": ["blue", "team-a-1"]})),
            true,
        ),
        (
            any(),
            pool(json!({"type": "meta-ipam", "pool": "blue", "server": "unix:///of/the/node"})),
            true,
        ),
        (
            any(),
            pool(json!({"type": "meta-ipam", "pools": ["blue", "red"]})),
            false,
        ),
        (any(), json!({"type": "vlan"}), false),
        (any(), macvlan(json!({"ipam": {"type": "dhcp"}})), false),
        (
            any(),
            json!({"plugins": [{"type": "macvlan"}, {"type": "bandwidth"}]}),
            false,
        ),
        (
            any(),
            json!({"plugins": [{"type": "macvlan"}, {"type": "tuning"}]}),
            true,
        ),
    ] {
        let found = refused(
            &config(json!("enforce")),
            &policies(&[rules]),
            conf.clone(),
            Element::default(),
        );
        assert_eq!(found.is_none(), is_allowed, "{conf}: {found:?}");
        if let Some(found) = found {
            assert!(found.what.to_string().len() < 300, "{}", found.what);
        }
    }
}

#[test]
fn a_device_of_a_device_plugin_needs_no_list() {
    let (first, default) = default();
    let rules = spec(json!({"plugins": {"main": ["host-device"]}}));
    for (conf, is_allowed) in [
        (json!({"type": "host-device"}), true),
        (json!({"type": "host-device", "device": "eth0"}), false),
    ] {
        let with_resource = network(conf.clone()).map(|found| Found {
            resource_name: Some("example.com/nic".to_owned()),
            ..found
        });
        let wanted = [first.clone(), wanted_of("a", Element::default())];
        let found = vec![default.clone(), with_resource];
        let found = enforce(
            &config(json!("enforce")),
            Some(&policies(std::slice::from_ref(&rules))),
            None,
            &wanted,
            found,
        );
        assert_eq!(found[1].is_ok(), is_allowed, "{conf}: {found:?}");
    }
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
