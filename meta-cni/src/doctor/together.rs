//! What networks and attachments of this node do to one another, although each of them is right.

use std::collections::{BTreeMap, BTreeSet};

use netlink::NetlinkError;

use super::finding::{Area, Finding};
use super::networks::{Network, Networks};
use super::pods::planned;
use crate::config::Config;
use crate::warnings::{self, Master, Warning};

/// The interface of this node whose IPv6 default route goes away once the node forwards.
pub(super) fn inspect() -> Result<Option<String>, NetlinkError> {
    warnings::route_at_stake()
}

/// What surprises. The checks of interfaces report that these cannot be listed.
pub(super) fn check(
    config: &Config,
    networks: &Networks,
    at_stake: Result<Option<String>, NetlinkError>,
) -> Vec<Finding> {
    let used = networks.networks.iter();
    let used: Vec<_> = used.filter(|network| !network.users.is_empty()).collect();
    let mut findings = in_pods(config, networks);
    findings.extend(modes(&used));
    findings.extend(vlans(&used));
    if let Ok(Some(ifname)) = at_stake {
        findings.extend(forwarding(&used, &ifname));
    }
    findings
}

fn found(area: Area, warning: Warning) -> Finding {
    Finding::warning(area, warning.what, warning.remedy)
}

fn in_pods(config: &Config, networks: &Networks) -> Vec<Finding> {
    let mut findings = Vec::new();
    for asking in &networks.pods {
        // The pod's own finding has what keeps it from being planned.
        let Ok(wanted) = &asking.wanted else {
            continue;
        };
        let Ok(attachments) = planned(config, asking, wanted) else {
            continue;
        };
        let pod = format!("pod {}/{}", asking.pod.namespace, asking.pod.name);
        let of_pod = warnings::of_pod(&attachments).into_iter();
        findings.extend(of_pod.map(|warning| found(Area::Pod, warning).seen(pod.clone())));
    }
    findings
}

/// ipvlan networks of one master that differ in their mode.
fn modes(used: &[&Network]) -> Vec<Finding> {
    let mut by_master: BTreeMap<Master, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
    for network in used {
        let list = network.found.as_ref().map(|found| &found.list);
        if let Some((master, mode)) = list.ok().and_then(warnings::ipvlan_mode) {
            let of_mode = by_master.entry(master).or_default().entry(mode);
            of_mode.or_default().push(network.described());
        }
    }
    let mixed = by_master.into_iter().filter(|(_, modes)| modes.len() > 1);
    mixed
        .map(|(master, modes)| {
            let names: Vec<_> = modes.keys().copied().collect();
            let cause = format!(
                "ipvlan networks of modes {} lie on {master}: the kernel gives all interfaces there the mode \
                 of the newest",
                names.join(", ")
            );
            let remedy = "give all ipvlan networks of a master the same mode";
            let networks = modes.iter().flat_map(|(mode, networks)| {
                let network = move |network: &String| format!("{mode}: {network}");
                networks.iter().map(network)
            });
            Finding::warning(Area::Link, cause, remedy).seen_all(networks)
        })
        .collect()
}

/// vlans of a master that more than one pod of this node asks for.
fn vlans(used: &[&Network]) -> Vec<Finding> {
    let mut users: BTreeMap<(Master, u64), BTreeSet<&str>> = BTreeMap::new();
    for network in used {
        let list = network.found.as_ref().map(|found| &found.list);
        if let Some(vlan) = list.ok().and_then(warnings::vlan_id) {
            let all = network.users.iter().map(String::as_str);
            users.entry(vlan).or_default().extend(all);
        }
    }
    let crowded = users
        .into_iter()
        .filter(|(_, users)| users.len() > 1 || users.contains("every pod"));
    crowded
        .map(|((master, id), users)| {
            let cause = format!(
                "vlan {id} of {master} serves one pod of a node at a time, and more of this node ask for it"
            );
            let remedy = "make the vlan an interface of the node, and use macvlan or bridge over it";
            let users = users.into_iter().map(str::to_owned);
            Finding::warning(Area::Link, cause, remedy).seen_all(users)
        })
        .collect()
}

fn forwarding(used: &[&Network], ifname: &str) -> Option<Finding> {
    let networks: Vec<_> = used
        .iter()
        .filter(|network| {
            let list = network.found.as_ref().map(|found| &found.list);
            list.is_ok_and(warnings::forwards_ipv6)
        })
        .map(|network| network.described())
        .collect();
    let warning = warnings::of_forwarding(ifname);
    (!networks.is_empty()).then(|| found(Area::Link, warning).seen_all(networks))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::networks::{Knowledge, inspect};
    use super::*;
    use crate::cluster::{Cluster, ClusterError, Event, Nad, NadName, Pod, PodRef};
    use crate::selection;

    /// Knows these networks of namespace `default`.
    struct Known<'a>(&'a [(&'a str, Value)]);

    impl Cluster for Known<'_> {
        fn pod(&self, _: &PodRef) -> Result<Pod, ClusterError> {
            unreachable!()
        }
        fn networks(&self, names: &[NadName]) -> Vec<Result<Nad, ClusterError>> {
            let nad = |name: &NadName| {
                let (_, conf) = self.0.iter().find(|(of, _)| *of == name.name).unwrap();
                Ok(Nad {
                    name: name.clone(),
                    config: conf.to_string(),
                    resource_name: None,
                })
            };
            names.iter().map(nad).collect()
        }
        fn policies(
            &self,
            namespaces: &[String],
        ) -> Result<Vec<Vec<crate::cluster::Policy>>, ClusterError> {
            Ok(vec![Vec::new(); namespaces.len()])
        }

        fn report(&self, _: &Pod, _: Option<&str>, _: &[Event]) -> Result<(), ClusterError> {
            unreachable!()
        }
        fn ready(&self, _: std::time::Duration) -> Result<(), ClusterError> {
            unreachable!()
        }
    }

    /// What is found of a node with these networks and pods, each with its annotation.
    fn found(
        nads: &[(&str, Value)],
        pods: &[(&str, &str)],
        at_stake: Option<&str>,
    ) -> Vec<Finding> {
        let conf =
            json!({"delegates": [{"name": "d", "type": "bridge", "ipam": {"type": "host-local"}}]});
        let config = Config::parse(conf.as_object().unwrap()).unwrap();
        let pod = |(name, networks): &(&str, &str)| Pod {
            namespace: "default".to_owned(),
            name: (*name).to_owned(),
            annotations: [(selection::NETWORKS.to_owned(), (*networks).to_owned())].into(),
            ..Pod::default()
        };
        let pods = pods.iter().map(pod).collect();
        let known = Known(nads);
        let networks = inspect(&config, Knowledge::Known(&known), pods, Vec::new());
        check(&config, &networks, Ok(at_stake.map(str::to_owned)))
    }

    #[test]
    fn networks_that_get_along_are_no_finding() {
        let nads = [
            ("l2", json!({"type": "ipvlan", "master": "eth1"})),
            (
                "also-l2",
                json!({"type": "ipvlan", "master": "eth1", "mode": "l2"}),
            ),
            (
                "l3",
                json!({"type": "ipvlan", "master": "eth2", "mode": "l3"}),
            ),
            (
                "vlan-7",
                json!({"type": "vlan", "master": "eth1", "vlanId": 7}),
            ),
            (
                "vlan-8",
                json!({"type": "vlan", "master": "eth1", "vlanId": 8}),
            ),
            ("layer2", json!({"type": "bridge", "bridge": "x"})),
        ];
        let pods = [("a", "l2,also-l2,vlan-7,layer2"), ("b", "l2,l3,vlan-8")];
        assert_eq!(found(&nads, &pods, Some("eth0")), []);
    }

    #[test]
    fn what_networks_do_to_one_another_is_reported_with_all_that_it_concerns() {
        let default_route = json!({"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}]});
        let bridge = json!({
            "type": "bridge", "isGateway": true, "bridge": "x",
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "fd00::/64"}]]},
        });
        for (nads, pods, cause, evidence) in [
            (
                vec![
                    ("l2", json!({"type": "ipvlan", "master": "eth1"})),
                    (
                        "l3",
                        json!({"type": "ipvlan", "master": "eth1", "mode": "l3"}),
                    ),
                ],
                vec![("a", "l2"), ("b", "l3")],
                "ipvlan networks of modes l2, l3 lie on eth1",
                vec![
                    "l2: network default/l2 of pod default/a",
                    "l3: network default/l3 of pod default/b",
                ],
            ),
            (
                vec![
                    (
                        "one",
                        json!({"type": "vlan", "master": "eth1", "vlanId": 7}),
                    ),
                    (
                        "two",
                        json!({"type": "vlan", "master": "eth1", "vlanId": 7}),
                    ),
                ],
                vec![("a", "one"), ("b", "two")],
                "vlan 7 of eth1 serves one pod of a node at a time",
                vec!["pod default/a", "pod default/b"],
            ),
            (
                vec![("six", bridge)],
                vec![("a", "six")],
                "a bridge with a gateway, or ptp, lets this node forward IPv6",
                vec!["network default/six of pod default/a"],
            ),
            (
                vec![
                    ("one", json!({"type": "macvlan", "ipam": default_route})),
                    ("two", json!({"type": "macvlan", "ipam": default_route})),
                ],
                vec![("a", "one,two"), ("b", "one,two")],
                "net1 (default/one), net2 (default/two) each have an IPv4 default route",
                vec!["pod default/a"],
            ),
        ] {
            let found = found(&nads, &pods, Some("eth0"));
            let one = found.first().expect(cause);
            assert!(one.cause.starts_with(cause), "{found:?}");
            assert_eq!(one.evidence, evidence, "{cause}");
        }
    }
}
