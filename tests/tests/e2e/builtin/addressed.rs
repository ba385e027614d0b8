//! Rows that every main plugin of an interface with addresses gets: families, routes, dns, versions, chains, and values that
//! are wrong whatever the type.

use serde_json::{Value, json};

use super::bridge::host_local;
use super::row::Row;

pub(crate) const V4: &str = "10.77.0.0/24";
pub(crate) const V6: &str = "fd00:77::/64";

/// A GC asks the plugin of `ipam`, which fails; the reference plugins have no GC.
pub(crate) const ASKED: &str = "GC asks the plugin of ipam, too";

/// A reference plugin leaves the interface in the pod after an ADD that failed, and so fails the next one.
pub(crate) const LEFT: &str =
    "an ADD that fails removes the interface that it made; the reference leaves it to DEL";

/// The leases of a configuration that the executable serves stay.
pub(crate) const EXECUTED: &str = "the executable serves it, which has no GC";

/// The reference leases addresses before it makes the interface.
const UNTOUCHED: &str =
    "the interface is made first, so that an ADD that cannot make it leases and changes nothing";

/// DEL removes the interface, whatever the plugin of `ipam` does.
const FIRST: &str = "DEL removes the interface before it releases its addresses; the reference stops when that fails";

/// Both families, by host-local.
pub(crate) fn dual() -> Value {
    host_local(&[V4, V6])
}

/// These addresses with the gateways, by static.
pub(crate) fn fixed(addresses: &[(&str, &str)]) -> Value {
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|(address, gateway)| match *gateway {
            "" => json!({"address": address}),
            gateway => json!({"address": address, "gateway": gateway}),
        })
        .collect();
    json!({"type": "static", "addresses": addresses})
}

fn with_routes(routes: Value) -> Value {
    let mut ipam = dual();
    ipam["routes"] = routes;
    ipam
}

/// The row with another name and these keys.
pub(crate) fn but(base: &Row, name: &str, more: Value) -> Row {
    let mut row = base.clone();
    row.name = name.to_owned();
    for (key, value) in more.as_object().unwrap() {
        row.conf[key] = value.clone();
    }
    row
}

/// A result of the plugin before in a chain, with these interfaces and addresses.
pub(crate) fn earlier(interfaces: &[&str], addresses: &[&str]) -> Value {
    let interfaces: Vec<Value> = interfaces
        .iter()
        .map(|name| json!({"name": name, "mac": "02:00:00:00:00:44"}))
        .collect();
    let ips: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"address": address}))
        .collect();
    json!({
        "cniVersion": "1.1.0",
        "interfaces": interfaces,
        "ips": ips,
        "routes": [{"dst": "198.51.100.0/24"}],
        "dns": {"nameservers": ["198.51.100.53"]},
    })
}

/// What the reference leaves of an ADD that failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// The interface, however it failed: it is made first.
    Interface,
    /// The interface, if it failed after its addresses were leased: they are leased first.
    Late,
    /// Nothing.
    Nothing,
}

/// The rows of a plugin with this configuration, which is whole but for its addresses.
pub(crate) fn rows(base: &Row, leaves: Leaves) -> Vec<Row> {
    let row = |name: &str, more: Value| but(base, name, more);
    // The third ADD of a row leaves an interface as well, which GC finds.
    let fails = |name: &str, more: Value, when: &[Leaves]| match when.contains(&leaves) {
        true => row(name, more).differs("ADD", LEFT).differs("GC", LEFT),
        false => row(name, more),
    };
    let early = [Leaves::Interface];
    let late = [Leaves::Interface, Leaves::Late];
    // The plugin for addresses cannot even release.
    let never = |name: &str, more: Value| match leaves {
        Leaves::Interface => fails(name, more, &early)
            .differs("DEL", FIRST)
            .differs("DEL again", FIRST),
        _ => row(name, more).differs("GC", ASKED),
    };
    let dns = json!({"nameservers": ["10.77.0.53"], "domain": "example.com", "search": ["a.example.com"], "options": ["ndots:2"]});
    let mut with_dns = fixed(&[("10.77.0.9/24", "10.77.0.1")]);
    with_dns["dns"] = json!({"nameservers": ["10.77.0.54"]});
    let many = [
        ("10.77.0.9/24", "10.77.0.1"),
        ("10.78.0.9/24", "10.78.0.1"),
        ("fd00:77::9/64", "fd00:77::1"),
        ("fd00:78::9/64", "fd00:78::1"),
    ];
    let mut rows = vec![
        row("dual stack", json!({"ipam": dual()})),
        row("v4 only", json!({"ipam": host_local(&[V4])})),
        row("v6 only", json!({"ipam": host_local(&[V6])})),
        row("four addresses", json!({"ipam": fixed(&many)})),
        row(
            "routes",
            json!({"ipam": with_routes(json!([{"dst": "192.0.2.0/24"}, {"dst": "2001:db8::/32"}]))}),
        ),
        row(
            "default routes",
            json!({"ipam": with_routes(json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]))}),
        ),
        row(
            "a route with gateway and metric",
            json!({"ipam": with_routes(json!([{"dst": "192.0.2.0/24", "gw": "10.77.0.9", "priority": 77}]))}),
        ),
        row(
            "a route in a table with scope",
            json!({"ipam": with_routes(json!([{"dst": "192.0.2.0/24", "table": 101, "scope": 0}]))}),
        ),
        row(
            "two routes to one network",
            json!({"ipam": with_routes(json!([{"dst": "192.0.2.0/24"}, {"dst": "192.0.2.0/24", "gw": "10.77.0.9"}]))}),
        ),
        fails(
            "a route that leads nowhere",
            json!({"ipam": with_routes(json!([{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}]))}),
            &late,
        ),
        row("own dns", json!({"dns": dns, "ipam": dual()})),
        row("dns of ipam", json!({"ipam": with_dns})),
        row("both dns", json!({"dns": dns, "ipam": with_dns})),
        row(
            "behind another plugin",
            json!({"ipam": dual(), "prevResult": earlier(&["up0"], &["198.51.100.9/24"])}),
        ),
        row(
            "arguments that are not read",
            json!({"ipam": dual(), "args": {"cni": {"mac": "02:00:00:00:00:12"}}, "runtimeConfig": {"mac": ""}}),
        ),
        row(
            "a key that nobody knows",
            json!({"futureKey": true, "ipam": dual()}),
        )
        .differs("GC", EXECUTED),
        row("ipam in capitals", json!({"IPAM": host_local(&[V4])})),
        row(
            "null for absent",
            json!({"dns": null, "prevResult": null, "ipam": host_local(&[V4])}),
        ),
        fails(
            "ipam gives nothing",
            json!({"ipam": {"type": "static"}}),
            &early,
        ),
        never(
            "ipam is missing",
            json!({"ipam": {"type": "no-such-plugin"}}),
        ),
        never(
            "ipam is full",
            json!({"ipam": host_local(&["10.77.0.0/31"])}),
        ),
        row("ipam is no object", json!({"ipam": "static"})),
        row("dns is no object", json!({"dns": 53, "ipam": fixed(&many)})),
        row("no name", json!({"name": "", "ipam": dual()})),
        row(
            "a name that is a path",
            json!({"name": "../x", "ipam": dual()}),
        ),
        row(
            "an unknown version",
            json!({"cniVersion": "9.9.9", "ipam": dual()}),
        ),
    ];
    let exists = row("an interface that exists", json!({"ipam": dual()}));
    let exists = exists.pod("link add eth0 type bridge");
    rows.push(match leaves {
        Leaves::Late => exists.differs("*", UNTOUCHED),
        _ => exists,
    });
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let conf =
            json!({"cniVersion": version, "ipam": with_routes(json!([{"dst": "0.0.0.0/0"}]))});
        rows.push(row(&format!("version {version}"), conf));
    }
    rows
}
