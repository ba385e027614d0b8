//! `macvlan`: every key at least twice, masters of host and pod, modes, hardware addresses, and values that are wrong.

use serde_json::{Value, json};

use super::addressed::{self, Leaves, but, dual};
use super::row::Row;
use super::run::compare;

/// A master with a cable: both ends of a pair are up.
pub(crate) fn on_host(row: Row) -> Row {
    row.host("link add up0 address 02:00:00:00:00:01 mtu 1500 type veth peer name up1")
        .host("link set up1 up")
        .host("link set up0 up")
}

/// The same in the pod.
pub(crate) fn in_pod(row: Row) -> Row {
    row.pod("link add up0 address 02:00:00:00:00:01 mtu 1500 type veth peer name up1")
        .pod("link set up1 up")
        .pod("link set up0 up")
}

/// Without `master`: the host has a default route of one family.
pub(crate) fn with_default_route(row: Row, family: &str) -> Row {
    match family {
        "v4" => row
            .host("address add 203.0.113.1/24 dev up0")
            .host("route add default via 203.0.113.9"),
        _ => row
            .host("address add 2001:db8:9::1/64 dev up0 nodad")
            .host("-6 route add default via 2001:db8:9::9"),
    }
}

fn rows() -> Vec<Row> {
    let plain = json!({"type": "macvlan", "master": "up0"});
    let base = on_host(Row::new("", plain.clone()));
    let row = |name: &str, more: Value| but(&base, name, more);
    let unnamed = on_host(Row::new("", json!({"type": "macvlan"})));
    let inside = in_pod(Row::new(
        "",
        json!({"type": "macvlan", "linkInContainer": true}),
    ));
    let mac = |octet: u8| format!("02:00:00:00:00:{octet:02x}");
    let mut rows = addressed::rows(&base, Leaves::Interface);
    for mode in ["", "bridge", "private", "vepa", "passthru"] {
        rows.push(row(
            &format!("mode {mode:?}"),
            json!({"mode": mode, "ipam": dual()}),
        ));
    }
    for (name, wrong) in [
        ("an unknown mode", json!({"mode": "source"})),
        ("an mtu above the master's", json!({"mtu": 1501})),
        ("a negative mtu", json!({"mtu": -1})),
        ("a negative queue", json!({"bcqueuelen": -1})),
        ("text for a number", json!({"mtu": "1400"})),
        ("a fraction for a number", json!({"mtu": 1400.5})),
        ("a number for a switch", json!({"linkInContainer": 1})),
        ("a number for a name", json!({"master": 7})),
        ("no hardware address", json!({"mac": "nonsense"})),
        (
            "no hardware address of the runtime",
            json!({"runtimeConfig": {"mac": "02:00"}}),
        ),
        (
            "a hardware address of eight octets",
            json!({"mac": "02:00:00:00:00:00:00:01"}),
        ),
        (
            "a hardware address of a group",
            json!({"mac": "01:00:5e:00:00:01"}),
        ),
        ("a master that does not exist", json!({"master": "absent"})),
        (
            "a master with a name that no link has",
            json!({"master": "a-name-of-16-char"}),
        ),
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
        row("an mtu", json!({"mtu": 1400, "ipam": dual()})),
        row("an mtu of 0", json!({"mtu": 0})),
        row(
            "a queue of broadcasts",
            json!({"bcqueuelen": 2000, "ipam": dual()}),
        ),
        row("a queue of 0", json!({"bcqueuelen": 0})),
        row(
            "a hardware address",
            json!({"mac": mac(0x11), "ipam": dual()}),
        ),
        row(
            "a hardware address of the runtime",
            json!({"runtimeConfig": {"mac": mac(0x12)}, "ipam": dual()}),
        ),
        row(
            "a hardware address in another notation",
            json!({"mac": "0200.0000.0013"}),
        ),
        row("a hardware address of CNI_ARGS", json!({"ipam": dual()}))
            .args(&format!("IgnoreUnknown=1;MAC={}", mac(0x14))),
        row(
            "CNI_ARGS before the configuration",
            json!({"mac": mac(0x15)}),
        )
        .args(&format!("MAC={}", mac(0x16))),
        row(
            "the runtime before CNI_ARGS",
            json!({"runtimeConfig": {"MAC": mac(0x17)}}),
        )
        .args(&format!("MAC={}", mac(0x18))),
        row(
            "a hardware address and passthru",
            json!({"mode": "passthru", "mac": mac(0x19)}),
        ),
        row(
            "keys in capitals",
            json!({"MTU": 1300, "MODE": "private", "BcQueueLen": 500}),
        ),
        but(
            &with_default_route(unnamed.clone(), "v4"),
            "the master of the default route",
            json!({"ipam": dual()}),
        ),
        but(
            &with_default_route(unnamed.clone(), "v6"),
            "the master of the default route of IPv6",
            json!({}),
        ),
        but(
            &with_default_route(unnamed.clone(), "v4"),
            "the master of the default route beside a route to its probe",
            json!({"master": ""}),
        )
        .host("route add 192.0.2.0/24 via 203.0.113.8"),
        but(&unnamed, "no master and no default route", json!({})),
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
        but(&inside, "the master of the pod's default route", json!({}))
            .pod("address add 203.0.113.1/24 dev up0")
            .pod("route add default via 203.0.113.9"),
        but(
            &inside,
            "a master in the pod that does not exist",
            json!({"master": "absent"}),
        ),
        row(
            "a master in the pod that is on the host",
            json!({"linkInContainer": true}),
        ),
        Row::new(
            "a master that is named as the interface",
            json!({"type": "macvlan", "master": "eth0", "ipam": dual()}),
        )
        .host("link add eth0 type veth peer name up1")
        .host("link set up1 up")
        .host("link set eth0 up"),
        Row::new(
            "a master that is down",
            json!({"type": "macvlan", "master": "up0"}),
        )
        .host("link add up0 type veth peer name up1"),
        Row::new(
            "a master that is the loopback interface",
            json!({"type": "macvlan", "master": "lo"}),
        ),
    ]);
    rows
}

#[test]
fn macvlan_is_as_the_reference() {
    compare("macvlan", 40, rows());
}
