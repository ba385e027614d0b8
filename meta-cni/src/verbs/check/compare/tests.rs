use cni::netconf::NetConfList;
use cni::version::Version;
use netlink::{Detection, Hop, LinkAddress, TableRoute};
use serde_json::{Value, json};

use super::*;
use crate::attachment::Attachment;
use crate::record::Phase;

const NETNS: &str = "/run/netns/pod";

/// `net1` with addresses and routes of both families, and `eth0` with default routes.
fn now() -> Snapshot {
    let link = |index: u32, name: &str| Link {
        index,
        name: name.to_owned(),
        mac: format!("02:00:00:00:00:0{index}"),
        ..Link::default()
    };
    let address = |link: u32, address: &str| LinkAddress {
        link,
        address: address.parse().unwrap(),
        is_global: true,
        detection: Detection::Done,
    };
    let route = |table: u32, destination: &str, gateway: Option<&str>, link: u32| TableRoute {
        table,
        destination: destination.parse().unwrap(),
        hops: vec![Hop {
            link,
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        }],
    };
    Snapshot {
        links: vec![link(1, "lo"), link(2, "eth0"), link(3, "net1")],
        addresses: vec![
            address(2, "10.1.0.2/24"),
            address(3, "10.5.0.2/24"),
            address(3, "fd00:5::2/64"),
        ],
        routes: vec![
            route(254, "0.0.0.0/0", Some("10.1.0.1"), 2),
            route(254, "10.5.0.0/24", None, 3),
            route(254, "10.9.0.0/16", Some("10.5.0.1"), 3),
            route(100, "0.0.0.0/0", Some("10.5.0.1"), 3),
        ],
        default_routes: Vec::new(),
    }
}

/// A record of `net1` with this result.
fn record(result: Value) -> Record {
    let mut result = result;
    result["cniVersion"] = json!("1.1.0");
    let list = json!({ "cniVersion": "1.1.0", "name": "net", "type": "bridge" });
    let attachment = Attachment {
        network: "default/net".to_owned(),
        ifname: "net1".to_owned(),
        args: String::new(),
        list: NetConfList::from_value(list).unwrap(),
        check_by_plugins: false,
        default_route: None,
        device: None,
        device_info_file: None,
    };
    let mut record = Record::planned("c1", NETNS, None, vec![attachment]);
    record.attachments[0].phase = Phase::Added;
    record.attachments[0].result = Some(CniResult::from_value(&result, Version::LATEST).unwrap());
    record
}

/// What CHECK says of `net1` with this result.
fn changes(made_by: MadeBy, now: &Snapshot, result: Value) -> Option<String> {
    let record = record(result);
    let comparison = Comparison {
        record: &record,
        made_by,
        netns: "/proc/7/ns/net",
        now,
    };
    let entry = &record.attachments[0];
    comparison
        .missing_interface(entry)
        .or_else(|| comparison.change(entry))
        .map(|problem| problem.to_string())
}

fn net1() -> Value {
    json!({ "name": "net1", "sandbox": NETNS, "mac": "02:00:00:00:00:03" })
}

#[test]
fn only_kernel_links_of_this_namespace_are_compared() {
    let cases = [
        ("a link of the pod", json!({ "sandbox": NETNS }), true),
        ("a link of the host", json!({}), false),
        ("nowhere", json!({ "sandbox": "0", "mac": "0" }), false),
        (
            "another namespace",
            json!({ "sandbox": "/run/netns/other" }),
            false,
        ),
        (
            "DPDK",
            json!({ "sandbox": NETNS, "pciID": "0000:3b:02.1" }),
            false,
        ),
        (
            "vhost-user",
            json!({ "sandbox": NETNS, "socketPath": "/run/v.sock" }),
            false,
        ),
    ];
    for (name, mut interface, expected) in cases {
        interface["name"] = json!("net7");
        // What IPAM assigned to it is not compared either.
        let result = json!({
            "interfaces": [interface],
            "ips": [{ "address": "10.7.0.2/24", "interface": 0 }],
            "routes": [{ "dst": "10.8.0.0/16", "gw": "10.7.0.1" }],
        });
        let found = changes(MadeBy::Us, &now(), result);
        assert_eq!(found.is_some(), expected, "{name}: {found:?}");
    }
}

#[test]
fn addresses_that_no_result_names_came_later() {
    let record = record(json!({
        "interfaces": [net1(), { "name": "eth0" }],
        "ips": [{ "address": "10.5.0.2/24", "interface": 0 }],
    }));
    let comparison = Comparison {
        record: &record,
        made_by: MadeBy::Us,
        netns: NETNS,
        now: &now(),
    };
    let late = comparison.late_addresses(&record.attachments[0]);
    assert_eq!(late, ["fd00:5::2/64"]);
}

#[test]
fn an_address_that_another_host_has_is_found() {
    let record = record(json!({ "interfaces": [net1()], "ips": [{ "address": "fd00:5::2/64" }] }));
    let mut now = now();
    for (detection, expected) in [
        (Detection::Done, false),
        (Detection::Pending, false),
        (Detection::Failed, true),
    ] {
        now.addresses[2].detection = detection;
        let comparison = Comparison {
            record: &record,
            made_by: MadeBy::Us,
            netns: NETNS,
            now: &now,
        };
        let found = comparison.duplicate(&record.attachments[0]);
        assert_eq!(found.is_some(), expected, "{detection:?}");
    }
}

#[test]
fn what_the_result_names_must_be_there() {
    let ip = |address: &str| json!([{ "address": address, "interface": 0 }]);
    let cases = [
        (
            "all as recorded",
            json!({
                "ips": [
                    { "address": "10.5.0.2/24", "interface": 0, "gateway": "10.5.0.1" },
                    { "address": "fd00:5::2/64" },
                ],
                "routes": [
                    { "dst": "10.9.3.0/16", "gw": "10.5.0.1" },
                    { "dst": "10.9.0.0/16" },
                ],
            }),
            None,
        ),
        (
            "a route that source based routing moved",
            json!({
                "routes": [{ "dst": "0.0.0.0/0", "gw": "10.5.0.1" }],
            }),
            None,
        ),
        (
            "IPv4",
            json!({ "ips": ip("10.5.0.3/24") }),
            Some("10.5.0.3 is gone from net1"),
        ),
        (
            "IPv6",
            json!({ "ips": ip("fd00:5::3/64") }),
            Some("fd00:5::3 is gone from net1"),
        ),
        (
            "an address that another has",
            json!({ "ips": ip("10.1.0.2/24") }),
            Some("10.1.0.2 is gone"),
        ),
        (
            "of no interface",
            json!({ "ips": [{ "address": "10.5.0.3/24" }] }),
            Some("gone from the pod"),
        ),
        (
            "a route",
            json!({ "routes": [{ "dst": "10.8.0.0/16" }] }),
            Some("10.8.0.0/16 is gone"),
        ),
        (
            "another gateway",
            json!({
                "routes": [{ "dst": "10.9.0.0/16", "gw": "10.5.0.9" }],
            }),
            Some("via 10.5.0.9 is gone"),
        ),
        (
            "another table",
            json!({
                "routes": [{ "dst": "10.9.0.0/16", "table": 100 }],
            }),
            Some("10.9.0.0/16 is gone"),
        ),
        (
            "a default route over another",
            json!({
                "routes": [{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }],
            }),
            Some("0.0.0.0/0 via 10.1.0.1 is gone"),
        ),
    ];
    for (name, mut result, expected) in cases {
        result["interfaces"] = json!([net1()]);
        let found = changes(MadeBy::Us, &now(), result);
        match expected {
            Some(words) => assert!(
                found.as_ref().is_some_and(|text| text.contains(words)),
                "{name}: {found:?}"
            ),
            None => assert_eq!(found, None, "{name}"),
        }
    }
}

#[test]
fn a_mac_address_counts_however_it_is_spelt_and_not_for_ports_of_a_bond() {
    let mac = |now: &Snapshot, mac: &str| {
        let interface = json!({ "name": "net1", "sandbox": NETNS, "mac": mac });
        changes(MadeBy::Us, now, json!({ "interfaces": [interface] }))
    };
    let mut now = now();
    assert_eq!(mac(&now, "02-00-00-00-00-03"), None);
    assert_eq!(mac(&now, "0200.0000.0003"), None);
    let found = mac(&now, "02:00:00:00:00:0A").unwrap();
    assert!(
        found.contains("net1 has MAC address 02:00:00:00:00:03"),
        "{found}"
    );
    now.links[2].controller = Some(9);
    assert_eq!(mac(&now, "02:00:00:00:00:0A"), None);
}

#[test]
fn multus_results_do_not_say_which_default_routes_are_true() {
    let result = json!({
        "interfaces": [net1()],
        "routes": [{ "dst": "0.0.0.0/0", "gw": "10.5.0.7" }],
    });
    assert!(changes(MadeBy::Us, &now(), result.clone()).is_some());
    assert_eq!(changes(MadeBy::Multus, &now(), result), None);
}
