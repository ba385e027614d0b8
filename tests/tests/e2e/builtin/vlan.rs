//! `vlan`: numbers, masters of host and pod, MTUs, and values that are wrong. Needs a kernel with 802.1Q.

use e2e::lacking;
use serde_json::{Value, json};

use super::addressed::{self, Leaves, but, dual};
use super::macvlan::{in_pod, on_host};
use super::row::Row;
use super::run::compare;

/// What the reference does at DEL.
const DELETED: &str =
    "DEL needs neither a master nor a right configuration; the reference fails for ever";

/// The row with that difference at each DEL.
fn deleted(row: Row) -> Row {
    let steps = [
        "DEL",
        "DEL again",
        "DEL of what is gone",
        "DEL without CNI_NETNS",
    ];
    steps
        .into_iter()
        .fold(row, |row, step| row.differs(step, DELETED))
}

fn rows() -> Vec<Row> {
    let base = on_host(Row::new(
        "",
        json!({"type": "vlan", "master": "up0", "vlanId": 100}),
    ));
    let row = |name: &str, more: Value| but(&base, name, more);
    let inside = in_pod(Row::new(
        "",
        json!({"type": "vlan", "linkInContainer": true, "vlanId": 100}),
    ));
    let mut rows = addressed::rows(&base, Leaves::Interface);
    for id in [0, 1, 4094] {
        rows.push(row(
            &format!("VLAN {id}"),
            json!({"vlanId": id, "ipam": dual()}),
        ));
    }
    for (name, wrong) in [
        ("a VLAN that is too large", json!({"vlanId": 4095})),
        ("a negative VLAN", json!({"vlanId": -1})),
        ("an mtu above the master's", json!({"mtu": 1501})),
        ("a negative mtu", json!({"mtu": -1})),
        ("no master", json!({"master": ""})),
        ("a master that does not exist", json!({"master": "absent"})),
        (
            "a master in the pod that is on the host",
            json!({"linkInContainer": true}),
        ),
    ] {
        rows.push(deleted(row(name, wrong)));
    }
    for (name, wrong) in [
        ("text for a VLAN", json!({"vlanId": "100"})),
        ("text for a number", json!({"mtu": "1400"})),
        ("a number for a switch", json!({"linkInContainer": 1})),
        ("a number for a name", json!({"master": 7})),
    ] {
        rows.push(row(name, wrong));
    }
    rows.extend([
        row("layer 2", json!({})),
        row("layer 2 with an empty ipam", json!({"ipam": {}})),
        row(
            "layer 2 with own dns",
            json!({"dns": {"domain": "example.com"}}),
        ),
        row("no VLAN is VLAN 0", json!({"vlanId": null})),
        row("an mtu", json!({"mtu": 1400, "ipam": dual()})),
        row("an mtu of 0", json!({"mtu": 0})),
        row("keys in capitals", json!({"MTU": 1300, "VLANID": 101})),
        row("a VLAN that another link has", json!({}))
            .host("link add link up0 name up0.100 type vlan id 100"),
        but(
            &inside,
            "a master in the pod",
            json!({"master": "up0", "ipam": dual()}),
        ),
        but(
            &inside,
            "a master in the pod, layer 2",
            json!({"master": "up0", "mtu": 1400}),
        ),
        Row::new(
            "a master that is named as the interface",
            json!({"type": "vlan", "master": "eth0", "vlanId": 7, "ipam": dual()}),
        )
        .host("link add eth0 address 02:00:00:00:00:01 type veth peer name up1")
        .host("link set up1 up")
        .host("link set eth0 up"),
        Row::new(
            "a master that is down",
            json!({"type": "vlan", "master": "up0", "vlanId": 8}),
        )
        .host("link add up0 address 02:00:00:00:00:01 type veth peer name up1"),
        Row::new(
            "a master that is a bridge",
            json!({"type": "vlan", "master": "br7", "vlanId": 9, "ipam": dual()}),
        )
        .host("link add br7 address 02:00:00:00:00:01 type bridge")
        .host("link set br7 up"),
        Row::new(
            "a master that is the loopback interface",
            json!({"type": "vlan", "master": "lo", "vlanId": 9}),
        ),
    ]);
    rows
}

#[test]
fn vlan_is_as_the_reference() {
    if !lacking::require("vlan") {
        return;
    }
    compare("vlan", 40, rows());
}
