//! `vrf`: every key at least twice, both families, domains that exist, and values that are wrong.

use e2e::lacking;
use serde_json::{Value, json};

use super::bridge::host_local;
use super::row::Row;
use super::run::compare;

const V4: &str = "10.77.0.0/24";
const V6: &str = "fd00:77::/64";

fn alone(name: &str, more: Value) -> Row {
    let mut row = Row::new(name, json!({"type": "vrf", "vrfname": "blue"}));
    for (key, value) in more.as_object().unwrap() {
        row.conf[key] = value.clone();
    }
    row
}

/// Behind a bridge with this `ipam`.
fn behind(name: &str, more: Value, ipam: Value) -> Row {
    let bridge = json!({"type": "bridge", "bridge": "br7", "ipam": ipam});
    let mut row = alone(name, more).after(bridge);
    let version = row.conf["cniVersion"].clone();
    row.after.as_mut().unwrap()["cniVersion"] = version;
    row
}

fn row(name: &str, more: Value) -> Row {
    behind(name, more, host_local(&[V4, V6]))
}

fn rows() -> Vec<Row> {
    let with_routes = || {
        let mut ipam = host_local(&[V4, V6]);
        ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "10.77.0.9", "priority": 77, "mtu": 1300}, {"dst": "::/0"}]);
        ipam
    };
    let of = |mut ipam: Value, routes: Value| {
        ipam["routes"] = routes;
        ipam
    };
    let undone = "an ADD that fails makes no vrf; the reference leaves it, and its DEL fails without the interface";
    let others = "an interface that is a port of another link stays one; DEL of the reference takes it out of any";
    let prev = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0"}]});
    let mut rows = vec![
        row("dual stack", json!({})),
        behind("v4 only", json!({}), host_local(&[V4])),
        behind("v6 only", json!({}), host_local(&[V6])),
        behind("with routes", json!({}), with_routes()),
        behind(
            "a default route of IPv4",
            json!({"table": 200}),
            of(host_local(&[V4]), json!([{"dst": "0.0.0.0/0"}])),
        ),
        behind(
            "a default route of IPv6",
            json!({"table": 201}),
            of(host_local(&[V6]), json!([{"dst": "::/0"}])),
        ),
        row("a table", json!({"table": 1001})),
        row("a low table", json!({"table": 5})),
        row("the kernel's choice of a table", json!({"table": 0})),
        row("another name", json!({"vrfname": "a.vrf-of_15char"})),
        row("tables that others have", json!({}))
            .pod("link add red type vrf table 1")
            .pod("link add green type vrf table 3"),
        row("a vrf that exists", json!({})).pod("link add blue type vrf table 44"),
        row("a vrf that exists with the table", json!({"table": 44}))
            .pod("link add blue type vrf table 44"),
        row("a vrf that exists with another table", json!({"table": 45}))
            .pod("link add blue type vrf table 44"),
        row("a vrf that has another port", json!({}))
            .pod("link add blue type vrf table 44")
            .pod("link set blue up")
            .pod("link add net1 type veth peer name peer1")
            .pod("link set net1 master blue")
            .pod("link set net1 up"),
        row("a vrf that is none", json!({})).pod("link add blue type bridge"),
        row("keys in capitals", json!({"VRFNAME": "blue", "Table": 9})),
        row("null for absent", json!({"table": null})),
        row("a key that nobody knows", json!({"futureKey": 1})),
        alone("no interface", json!({"prevResult": prev})).differs("*", undone),
        alone("a port of another link", json!({"prevResult": prev}))
            .pod("link add br0 type bridge")
            .pod("link add eth0 type veth peer name peer0")
            .pod("link set eth0 master br0")
            .differs("*", others),
        alone("no result before", json!({})),
        alone(
            "a result before that is none",
            json!({"prevResult": {"ips": 1}}),
        ),
        row("no name of a vrf", json!({"vrfname": ""})),
        row("a null name of a vrf", json!({"vrfname": null})),
        row(
            "a name of a vrf that is too long",
            json!({"vrfname": "a-name-of-16-char"}),
        ),
        row("a table below 0", json!({"table": -1})),
        row("a text for a table", json!({"table": "7"})),
        row(
            "a table that is too high",
            json!({"table": 4_294_967_296_u64}),
        ),
        row("no name", json!({"name": ""})),
        alone(
            "an unknown version",
            json!({"cniVersion": "9.9.9", "prevResult": {}}),
        ),
        alone(
            "version 0.2.0",
            json!({"cniVersion": "0.2.0", "prevResult": prev}),
        ),
        alone(
            "version 0.3.0",
            json!({"cniVersion": "0.3.0", "prevResult": prev}),
        ),
    ];
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        rows.push(row(
            &format!("version {version}"),
            json!({"cniVersion": version, "table": 300}),
        ));
    }
    rows
}

#[test]
fn vrf_is_as_the_reference() {
    if !lacking::require("vrf") {
        return;
    }
    compare("vrf", 35, rows());
}
