//! `sbr`: every key at least twice, both families, several addresses, and values that are wrong.

use serde_json::{Value, json};

use super::bridge::host_local;
use super::row::Row;
use super::run::compare;

const GONE: &str = "DEL needs no namespace; the reference fails without one";
const UNDONE: &str = "an ADD that fails removes its rules and tables; the reference leaves them";

const V4: &str = "10.77.0.0/24";
const V6: &str = "fd00:77::/64";

/// `sbr` with the keys of `more`.
fn alone(name: &str, more: Value) -> Row {
    let mut row = Row::new(name, json!({"type": "sbr"}));
    for (key, value) in more.as_object().unwrap() {
        row.conf[key] = value.clone();
    }
    row
}

/// A row whose DEL needs no namespace.
fn gone(row: Row) -> Row {
    row.differs("DEL of what is gone", GONE)
        .differs("DEL without CNI_NETNS", GONE)
}

/// Behind a bridge with this `ipam`.
fn unread(name: &str, more: Value, ipam: Value) -> Row {
    let bridge = json!({"type": "bridge", "bridge": "br7", "ipam": ipam});
    let mut row = alone(name, more).after(bridge);
    if let Some(version) = row.conf["cniVersion"].as_str() {
        let version = json!(version);
        row.after.as_mut().unwrap()["cniVersion"] = version;
    }
    row
}

/// The same with a configuration that a DEL can be done with.
fn behind(name: &str, more: Value, ipam: Value) -> Row {
    gone(unread(name, more, ipam))
}

/// The same, where the routes of the interface are moved away: a second ADD finds no way to the gateway.
fn moving(name: &str, more: Value, ipam: Value) -> Row {
    behind(name, more, ipam)
        .differs("ADD again", UNDONE)
        .differs("GC", UNDONE)
}

fn dual() -> Value {
    host_local(&[V4, V6])
}

/// An interface with addresses and routes that the row makes itself.
fn made(name: &str, more: Value, ips: Value, addresses: &[&str], routes: &[&str]) -> Row {
    let mut row = gone(alone(name, more))
        .pod("link add eth0 type veth peer name peer0")
        .pod("link set peer0 up")
        .pod("link set eth0 up");
    for address in addresses {
        row = row.pod(&format!("address add {address} dev eth0 nodad"));
    }
    for route in routes {
        row = row.pod(&format!("route add {route}"));
    }
    let interfaces = json!([{"name": "eth0", "sandbox": "x"}, {"name": "net1", "sandbox": "x"}]);
    row.with(
        "prevResult",
        json!({"cniVersion": "1.1.0", "interfaces": interfaces, "ips": ips}),
    )
}

fn configured() -> Vec<Row> {
    let with_routes = || {
        let mut ipam = dual();
        ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "10.77.0.9", "priority": 77, "mtu": 1300}, {"dst": "::/0"}]);
        ipam
    };
    vec![
        moving("dual stack", json!({}), dual()),
        moving("v4 only", json!({}), host_local(&[V4])),
        moving("v6 only", json!({}), host_local(&[V6])),
        moving(
            "two of a family",
            json!({}),
            host_local(&[V4, V6, "fd00:78::/64"]),
        ),
        moving("with routes", json!({}), with_routes()),
        moving(
            "a configured gateway",
            json!({"gateways": ["10.77.0.9"]}),
            dual(),
        ),
        moving(
            "configured gateways of both families",
            json!({"gateways": ["fd00:77::9", "10.77.0.9"]}),
            with_routes(),
        ),
        moving("an empty list of gateways", json!({"gateways": []}), dual()),
        behind("a configured table", json!({"table": 1000}), dual()),
        behind("a low table", json!({"table": 7}), with_routes()),
        behind(
            "the highest table",
            json!({"table": 4_294_967_295_u32}),
            host_local(&[V4]),
        ),
        behind(
            "a table and gateways that are not used",
            json!({"table": 300, "gateways": ["nonsense"]}),
            host_local(&[V4]),
        ),
        behind("source hints", json!({"addSourceHints": true}), dual()).differs("GC", UNDONE),
        behind(
            "source hints with routes",
            json!({"addSourceHints": true}),
            with_routes(),
        )
        .differs("GC", UNDONE),
        behind(
            "source hints and a gateway",
            json!({"addSourceHints": true, "gateways": ["10.77.0.9"]}),
            host_local(&[V4]),
        )
        .differs("GC", UNDONE),
        moving("no source hints", json!({"addSourceHints": false}), dual()),
        behind(
            "source hints of a table",
            json!({"addSourceHints": true, "table": 100}),
            dual(),
        ),
        moving("tables that have rules", json!({}), dual())
            .pod("rule add from 192.0.2.1 lookup 100")
            .pod("rule add from 192.0.2.2 lookup 102"),
        moving(
            "keys in capitals",
            json!({"GATEWAYS": ["10.77.0.9"], "AddSourceHints": false}),
            host_local(&[V4]),
        ),
        moving(
            "null for absent",
            json!({"table": null, "gateways": null}),
            host_local(&[V4]),
        ),
        unread(
            "a key that nobody knows",
            json!({"futureKey": 1}),
            host_local(&[V4]),
        ),
    ]
}

fn interfaces() -> Vec<Row> {
    let one = || json!([{"address": "10.77.0.5/24", "interface": 0}]);
    vec![
        made("no gateway", json!({}), one(), &["10.77.0.5/24"], &[]),
        made("no gateway for source hints", json!({"addSourceHints": true}), one(), &["10.77.0.5/24"], &[]),
        made("addresses of one subnet", json!({}),
            json!([{"address": "10.77.0.5/24", "interface": 0, "gateway": "10.77.0.1"}, {"address": "10.77.0.6/24", "interface": 0, "gateway": "10.77.0.1"}]),
            &["10.77.0.5/24", "10.77.0.6/24"],
            &["192.0.2.0/24 via 10.77.0.9 dev eth0"],
        )
        .differs("ADD again", UNDONE)
        .differs("GC", UNDONE),
        made("addresses that name no interface", json!({}), json!([{"address": "10.77.0.5/24"}, {"address": "fd00:77::5/64"}]),
            &["10.77.0.5/24", "fd00:77::5/64"], &[]),
        made("addresses of another interface", json!({}), json!([{"address": "10.77.0.5/24", "interface": 1}]),
            &["10.77.0.5/24"], &[]),
        made("routes of no address", json!({}), one(), &["10.77.0.5/24", "10.78.0.5/24"], &["192.0.2.0/24 dev eth0", "198.51.100.0/24 via 10.78.0.9 dev eth0"]),
        made("a table of no interface", json!({"table": 500}), one(), &[], &[]),
        gone(alone("no interface", json!({"prevResult": {"cniVersion": "1.1.0", "ips": [{"address": "10.77.0.5/24"}]}}))),
    ]
}

fn wrong() -> Vec<Row> {
    let ipam = || host_local(&[V4]);
    let gateways =
        |name: &str, gateways: Value| behind(name, json!({"gateways": gateways}), ipam());
    let mut rows = vec![
        gone(alone("no result before", json!({}))),
        alone(
            "a result before that is none",
            json!({"prevResult": {"ips": 1}}),
        ),
        gone(alone(
            "no addresses",
            json!({"prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "eth0"}]}}),
        )),
        gateways("a gateway that is none", json!(["nonsense"])),
        gateways("an empty gateway", json!([""])),
        gateways(
            "two gateways of a family",
            json!(["10.77.0.1", "10.77.0.9"]),
        ),
        gateways("two gateways of IPv6", json!(["fd00:77::1", "fd00:77::9"])),
        gateways(
            "three gateways",
            json!(["10.77.0.1", "fd00:77::1", "10.77.0.9"]),
        ),
        unread(
            "gateways that are no list",
            json!({"gateways": "10.77.0.1"}),
            ipam(),
        ),
        gateways("a gateway that is out of reach", json!(["192.0.2.1"])).differs("*", UNDONE),
        unread("a text for a table", json!({"table": "100"}), ipam()),
        unread("a table below 0", json!({"table": -1}), ipam()).differs(
            "*",
            "a table below 0 is refused; the reference has the kernel choose one",
        ),
        unread("no name", json!({"name": ""}), ipam()),
        alone(
            "an unknown version",
            json!({"cniVersion": "9.9.9", "prevResult": {}}),
        ),
    ];
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        rows.push(moving(
            &format!("version {version}"),
            json!({"cniVersion": version}),
            dual(),
        ));
    }
    rows
}

#[test]
fn sbr_is_as_the_reference() {
    compare("sbr", 45, [configured(), interfaces(), wrong()].concat());
}
