//! Which leases take the place of what whereabouts 0.9.2 has written.

use process::yaml;
use serde_json::{Value, json};

use super::super::network::tests::network;
use super::*;

/// Pods on node n1: `NAME NAMESPACE/NAD INTERFACE ADDRESS…`; without a network it has no status.
fn pods(lines: &[&str]) -> String {
    let pod = |line: &&str| {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let status = words.next().map(|network| {
            let interface = words.next().unwrap_or_default();
            let ips: Vec<&str> = words.collect();
            json!([{"name": network, "interface": interface, "ips": ips}]).to_string()
        });
        let annotations = status.map(|status| json!({"k8s.v1.cni.cncf.io/network-status": status}));
        let metadata = json!({"name": name, "namespace": "ns", "uid": format!("u-{name}"), "annotations": annotations});
        let pod = json!({"kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
        format!("---\n{pod}\n")
    };
    lines.iter().map(pod).collect()
}

/// An IPPool with `OFFSET CONTAINER POD INTERFACE`.
fn pool(name: &str, range: &str, allocations: &[&str]) -> String {
    let allocation = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [offset, container, pod, ifname] = words[..] else {
            panic!("{line}");
        };
        let holder = json!({"id": container, "podref": pod, "ifname": ifname});
        (offset.to_owned(), holder)
    };
    let allocations: serde_json::Map<String, Value> = allocations.iter().map(allocation).collect();
    let pool = json!({"kind": "IPPool", "metadata": {"name": name}, "spec": {"range": range, "allocations": allocations}});
    format!("---\n{pool}\n")
}

fn reservation(name: &str, pod: &str) -> String {
    // As 0.9 writes it: without a container.
    let one = json!({"kind": "OverlappingRangeIPReservation", "metadata": {"name": name}, "spec": {"podref": pod, "ifname": "net1"}});
    format!("---\n{one}\n")
}

fn objects(text: &str) -> Objects {
    let mut objects = Objects::default();
    for document in yaml::documents(text) {
        objects.add_document(document.expect("YAML"));
    }
    assert_eq!(objects.unread, []);
    objects
}

fn planned(networks: &[Network], text: &str, cache: &[Cached]) -> Leases {
    let pools = Pools::plan(networks, &[], "wb-");
    plan(&objects(text), cache, networks, &pools, &[])
}

/// Leases as `IPV4 IPV6 POOL: POD INTERFACE CONTAINER NETWORK NODE UID`.
fn lines(leases: &Leases) -> Vec<String> {
    let line = |lease: &Lease| {
        let owner = lease.owner.clone().unwrap_or_default();
        let words = [
            lease.ipv4.clone(),
            lease.ipv6.clone(),
            format!("{}:", lease.pool),
            owner.pod,
            owner.ifname,
            owner.container_id,
            owner.network,
            owner.node,
            owner.pod_uid,
        ];
        let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
        words.join(" ")
    };
    leases.leases.iter().map(line).collect()
}

fn reasons(leases: &Leases) -> Vec<&str> {
    leases
        .obstacles
        .iter()
        .map(|one| one.reason.as_str())
        .collect()
}

fn pair() -> Network {
    network(
        "blue",
        &json!({"ipRanges": [{"range": "10.1.0.0/24"}, {"range": "fd00:1::/64"}]}),
    )
}

#[test]
fn both_addresses_of_an_interface_are_one_lease_of_the_attachment() {
    let text = pool(
        "10.1.0.0-24",
        "10.1.0.0/24",
        &["1 c1 ns/web net1", "2 c2 ns/db net1"],
    ) + &pool("fd00-1---64", "fd00:1::/64", &["1 c1 ns/web net1"])
        + &reservation("10.1.0.1", "ns/web")
        + &reservation("fd00-1--1", "ns/web")
        + &pods(&[
            "web ns/blue net1 10.1.0.1 fd00:1::1",
            "db ns/blue net1 10.1.0.2",
        ]);
    let leases = planned(&[pair()], &text, &[]);
    assert_eq!(
        lines(&leases),
        [
            "10.1.0.1/24 fd00:1::1/64 wb-10.1.0.0-24: web net1 c1 ns/blue n1 u-web",
            "10.1.0.2/24 wb-10.1.0.0-24: db net1 c2 ns/blue n1 u-db",
        ]
    );
    assert_eq!(leases.obstacles, []);
    assert_eq!(leases.leases[0].labels[LABEL], "whereabouts");
    assert_eq!(leases.leases[0].vrf, "default");
}

#[test]
fn several_interfaces_of_a_pod_have_a_lease_each() {
    let other = network(
        "red",
        &json!({"range": "10.1.0.0/24", "network_name": "apart"}),
    );
    let text = pool(
        "10.1.0.0-24",
        "10.1.0.0/24",
        &["1 c1 ns/web net1", "2 c1 ns/web net2"],
    ) + &pool("apart-10.1.0.0-24", "10.1.0.0/24", &["1 c1 ns/web net3"])
        + &pods(&["web"]);
    let leases = planned(&[pair(), other], &text, &[]);
    assert_eq!(
        lines(&leases),
        [
            "10.1.0.1/24 wb-10.1.0.0-24: web net1 c1 ns/blue n1 u-web",
            "10.1.0.2/24 wb-10.1.0.0-24: web net2 c1 ns/blue n1 u-web",
            "10.1.0.1/24 wb-apart-10.1.0.0-24: web net3 c1 ns/red n1 u-web",
        ]
    );
}

#[test]
fn the_network_of_a_lease_is_the_one_of_the_pods_status() {
    let red = network("red", &json!({"range": "10.1.0.0/24"}));
    let text = pool(
        "10.1.0.0-24",
        "10.1.0.0/24",
        &["1 c1 ns/web net1", "2 c2 ns/db net1"],
    ) + &pods(&["web ns/red net1 10.1.0.1", "db ns/blue net1 10.1.0.2"]);
    let leases = planned(&[pair(), red], &text, &[]);
    assert_eq!(
        lines(&leases),
        [
            "10.1.0.1/24 wb-10.1.0.0-24: web net1 c1 ns/red n1 u-web",
            "10.1.0.2/24 wb-10.1.0.0-24: db net1 c2 ns/blue n1 u-db",
        ]
    );
}

#[test]
fn slices_of_nodes_are_of_one_pool() {
    let network = network(
        "blue",
        &json!({"range": "10.1.0.0/16", "node_slice_size": "/24"}),
    );
    let slices = json!({"kind": "NodeSlicePool", "metadata": {"name": "blue"}, "spec": {"range": "10.1.0.0/16", "sliceSize": "/24"},
        "status": {"allocations": [{"nodeName": "n1", "sliceRange": "10.1.0.0/24"}, {"nodeName": "n2", "sliceRange": "10.1.1.0/24"}]}});
    let text = format!("---\n{slices}\n")
        + &pool("n1-10.1.0.0-24", "10.1.0.0/24", &["1 c1 ns/web net1"])
        + &pool("n2-10.1.1.0-24", "10.1.1.0/24", &["1 c2 ns/db net1"])
        + &pods(&["web", "db"]);
    let leases = planned(&[network], &text, &[]);
    assert_eq!(
        lines(&leases),
        [
            "10.1.0.1/16 wb-10.1.0.0-16: web net1 c1 ns/blue n1 u-web",
            "10.1.1.1/16 wb-10.1.0.0-16: db net1 c2 ns/blue n1 u-db",
        ]
    );
}

#[test]
fn what_no_running_pod_holds_is_not_leased() {
    let ended = json!({"kind": "Pod", "metadata": {"name": "done", "namespace": "ns"}, "spec": {}, "status": {"phase": "Succeeded"}});
    let text = pool(
        "10.1.0.0-24",
        "10.1.0.0/24",
        &[
            "1 c1 ns/gone net1",
            "2 c2 ns/done net1",
            "3 c3 ns/web net1",
            "4 c4 ns/web net1",
            "x c5 ns/web net1",
        ],
    ) + &pods(&["web ns/blue net1 10.1.0.4"])
        + &format!("---\n{ended}\n");
    let leases = planned(&[pair()], &text, &[]);
    assert_eq!(
        lines(&leases),
        ["10.1.0.4/24 wb-10.1.0.0-24: web net1 c4 ns/blue n1 u-web"]
    );
    assert_eq!(
        reasons(&leases),
        [
            "pod ns/gone does not exist any more",
            "pod ns/done has ended",
            "net1 of pod ns/web has 10.1.0.4 by now",
            "it is no offset of an address of 10.1.0.0/24",
        ]
    );
}

#[test]
fn an_address_that_two_pods_hold_is_leased_to_the_one_whose_status_has_it() {
    let text = pool("10.1.0.0-24", "10.1.0.0/24", &["1 c1 ns/db net1"])
        + &reservation("10.1.0.1", "ns/web")
        + &pods(&["web ns/blue net1 10.1.0.1", "db"]);
    let leases = planned(&[pair()], &text, &[]);
    assert_eq!(leases.leases.len(), 1);
    assert_eq!(
        leases.leases[0]
            .owner
            .as_ref()
            .map(|owner| owner.pod.as_str()),
        Some("web")
    );
    let held = "pod ns/web holds the same address, and has the lease";
    assert!(reasons(&leases).contains(&held), "{:?}", leases.obstacles);
}

#[test]
fn an_address_that_the_pool_never_leases_is_named() {
    let network = network(
        "blue",
        &json!({"range": "10.1.0.10-10.1.0.50/24", "gateway": "10.1.0.20", "exclude": ["10.1.0.30/32"]}),
    );
    let text = pool(
        "10.1.0.0-24",
        "10.1.0.0/24",
        &[
            "5 c1 ns/a net1",
            "20 c2 ns/b net1",
            "30 c3 ns/c net1",
            "40 c4 ns/d net1",
        ],
    ) + &pods(&["a", "b", "c", "d"]);
    let leases = planned(&[network], &text, &[]);
    assert_eq!(leases.leases.len(), 1);
    assert_eq!(
        reasons(&leases),
        [
            "it is the gateway of pool wb-10.1.0.0-24, which never leases it",
            "it is excluded of pool wb-10.1.0.0-24, which never leases it",
            "it is outside of the ranges of pool wb-10.1.0.0-24, which never leases it",
        ]
    );
}

#[test]
fn an_offset_that_whereabouts_cannot_keep_is_found_by_reservation_and_cache() {
    let network = network("blue", &json!({"range": "fd00::/32"}));
    let cached = Cached {
        container: "c1".to_owned(),
        ifname: "net1".to_owned(),
        pod: PodName {
            namespace: "ns".to_owned(),
            name: "web".to_owned(),
        },
        uid: "u-web".to_owned(),
        ips: ["fd00:0:9::1".parse().unwrap()].into(),
    };
    let text = pool("fd00---32", "fd00::/32", &["5 c2 ns/db net1"])
        + &reservation("fd00-0-9--1", "ns/web")
        + &reservation("fd00-0-8--5", "ns/db")
        + &reservation("fd00-0-7--5", "ns/lost")
        + &pods(&["web", "db", "lost"]);
    let leases = planned(std::slice::from_ref(&network), &text, &[cached]);
    assert_eq!(
        lines(&leases),
        [
            "fd00::7:0:0:0:5/32 wb-fd00-32: lost n1 u-lost"
                .replace("fd00::7:0:0:0:5", "fd00:0:7::5"),
            "fd00:0:9::1/32 wb-fd00-32: web net1 c1 ns/blue n1 u-web".to_owned(),
            "fd00:0:8::5/32 wb-fd00-32: db net1 c2 ns/blue n1 u-db".to_owned(),
        ]
    );
    assert_eq!(
        reasons(&leases),
        ["its container is not known: the lease is the pod's, and DEL does not end it"]
    );
}

#[test]
fn an_address_that_only_a_pod_knows_is_leased_to_the_container_of_its_other_interfaces() {
    let red = network("red", &json!({"range": "10.2.0.0/24"}));
    let status = json!([
        {"name": "ns/blue", "interface": "net1", "ips": ["10.1.0.1"]},
        {"name": "ns/red", "interface": "net2", "ips": ["10.2.0.9"]},
        {"name": "cbr0", "interface": "eth0", "ips": ["10.1.0.77"]},
    ]);
    let metadata = json!({"name": "web", "namespace": "ns", "uid": "u-web", "annotations": {"k8s.v1.cni.cncf.io/network-status": status.to_string()}});
    let pod = json!({"kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n1"}});
    let text = pool("10.1.0.0-24", "10.1.0.0/24", &["1 c1 ns/web net1"]) + &format!("---\n{pod}\n");
    let leases = planned(&[pair(), red], &text, &[]);
    assert_eq!(
        lines(&leases),
        [
            "10.1.0.1/24 wb-10.1.0.0-24: web net1 c1 ns/blue n1 u-web",
            "10.2.0.9/24 wb-10.2.0.0-24: web net2 c1 ns/red n1 u-web",
        ]
    );
}

#[test]
fn a_pool_that_no_network_leases_from_stays_with_whereabouts() {
    let text = pool("10.9.0.0-24", "10.9.0.0/24", &["1 c1 ns/web net1"]) + &pods(&["web"]);
    let leases = planned(&[pair()], &text, &[]);
    assert!(leases.leases.is_empty());
    assert_eq!(
        reasons(&leases),
        ["it has 1 addresses, and no network that is carried over leases from it"]
    );
}

#[test]
fn what_a_pod_has_leased_from_the_pool_itself_is_known() {
    let text = pods(&["web ns/blue net1 10.1.0.7 fd00:1::9"]);
    let networks = [pair()];
    let pools = Pools::plan(&networks, &[], "wb-");
    let existing = Lease {
        ipv4: "10.1.0.7/24".to_owned(),
        ipv6: "fd00:1::9/64".to_owned(),
        owner: Some(Owner {
            namespace: "ns".to_owned(),
            pod: "web".to_owned(),
            container_id: "c9".to_owned(),
            ..Owner::default()
        }),
        ..Lease::default()
    };
    let leases = plan(&objects(&text), &[], &networks, &pools, &[existing]);
    assert_eq!(
        lines(&leases),
        ["10.1.0.7/24 fd00:1::9/64 wb-10.1.0.0-24: web net1 c9 ns/blue n1 u-web"]
    );
    assert_eq!(leases.obstacles, []);
}
