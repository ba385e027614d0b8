//! `loopback`: names, versions, chains, and namespaces whose `lo` is not as it is by itself.

use serde_json::{Value, json};

use super::addressed::{but, dual, earlier};
use super::row::Row;
use super::run::compare;

/// What the reference prints.
const UNVERSIONED: &str = "the version of an address is part of these versions of the specification; the reference omits it";

fn rows() -> Vec<Row> {
    let base = Row::new("", json!({"type": "loopback"}));
    let row = |name: &str, more: Value| but(&base, name, more);
    let mut rows = vec![
        row("nothing else", json!({})),
        row("down before", json!({})).pod("link set lo down"),
        row("another address of loopback", json!({})).pod("address add 127.0.0.5/8 dev lo"),
        row("another address first", json!({}))
            .pod("address del 127.0.0.1/8 dev lo")
            .pod("address add 127.0.0.5/16 dev lo"),
        row("no address of IPv4", json!({})).pod("address del 127.0.0.1/8 dev lo"),
        row("no address of IPv6", json!({})).pod("-6 address del ::1/128 dev lo"),
        row("no address", json!({})).pod("address flush dev lo"),
        row("an address that is none of loopback", json!({}))
            .pod("address add 192.0.2.1/32 dev lo"),
        row("an address of IPv6 that is none of loopback", json!({}))
            .pod("address add fd00::1/128 dev lo"),
        row("an mtu", json!({})).pod("link set lo mtu 1500"),
        row("a route over it", json!({})).pod("route add 192.0.2.0/24 dev lo"),
        row(
            "behind another plugin",
            json!({"prevResult": earlier(&["up0"], &["198.51.100.9/24"])}),
        ),
        row(
            "behind a plugin of two interfaces",
            json!({"prevResult": earlier(&["up0", "up1"], &[])}),
        ),
        row(
            "behind another plugin, down before",
            json!({"prevResult": earlier(&[], &["198.51.100.9/24"])}),
        )
        .pod("link set lo down"),
        row(
            "a result before that is none",
            json!({"prevResult": {"cniVersion": "1.1.0", "ips": 7}}),
        ),
        row(
            "a result before that is no object",
            json!({"prevResult": 7}),
        ),
        row("null for absent", json!({"prevResult": null, "ipam": null})),
        row("ipam is not called", json!({"ipam": dual()})),
        row(
            "ipam is not called, whatever it is",
            json!({"ipam": {"type": "no-such-plugin"}}),
        ),
        row("ipam is no object", json!({"ipam": "static"})),
        row(
            "dns is not read",
            json!({"dns": {"nameservers": ["10.77.0.53"]}}),
        ),
        row("dns is no object", json!({"dns": 53})),
        row("a key that nobody knows", json!({"futureKey": true})),
        row(
            "arguments that are not read",
            json!({"args": {"cni": {}}, "runtimeConfig": {"mac": "nonsense"}}),
        )
        .args("IgnoreUnknown=1;MAC=nonsense"),
        row("no name", json!({"name": ""})),
        row("a name that is a path", json!({"name": "../x"})),
        row("an unknown version", json!({"cniVersion": "9.9.9"})),
    ];
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let row = row(
            &format!("version {version}"),
            json!({"cniVersion": version}),
        );
        let steps: &[&str] = match version {
            "1.0.0" | "1.1.0" => &[],
            _ => &["ADD", "ADD again", "third ADD"],
        };
        let steps = steps.iter();
        rows.push(steps.fold(row, |row, step| row.differs(step, UNVERSIONED)));
    }
    for version in ["0.3.1", "1.0.0"] {
        let mut before = earlier(&["up0"], &[]);
        before["cniVersion"] = json!(version);
        let conf = json!({"cniVersion": version, "prevResult": before});
        rows.push(row(
            &format!("version {version} behind another plugin"),
            conf,
        ));
    }
    rows
}

#[test]
fn loopback_is_as_the_reference() {
    compare("loopback", 25, rows());
}
