//! `host-device`: devices by name, hardware address and path, moved and moved back, and values that are wrong.

use serde_json::{Value, json};

use super::addressed::{self, Leaves, but, dual};
use super::row::Row;
use super::run::compare;

/// What the reference does at DEL.
const DELETED: &str =
    "DEL of a device that is back already has nothing to do but to release; the reference fails";

/// At which steps that shows for a row.
fn steps_of(name: &str) -> &'static [&'static str] {
    match name {
        // It fails on both sides, or is left to the executable.
        "a key that nobody knows"
        | "a name that is a path"
        | "a number for a name"
        | "a switch that is a text"
        | "an unknown version"
        | "dns is no object"
        | "ipam is no object"
        | "no name"
        | "DPDKMode, left to the executable"
        | "useInterfaceNetwork, left to the executable" => &[],
        "an interface that exists" => &["DEL of what is gone"],
        // What cannot be released is tried even without CNI_NETNS.
        "ipam is full" | "ipam is missing" => &["DEL of what is gone", "DEL without CNI_NETNS"],
        // No device was moved.
        "a device that does not exist"
        | "a hardware address of no device"
        | "a path that is none of devices"
        | "a route that leads nowhere"
        | "by its path"
        | "ipam gives nothing"
        | "no hardware address"
        | "the loopback interface" => &["DEL", "DEL again", "DEL of what is gone"],
        // Which device it was does not matter any more.
        "a device of the bus that does not exist"
        | "an id of the runtime of no device"
        | "nothing names a device" => &[
            "DEL",
            "DEL again",
            "DEL of what is gone",
            "DEL without CNI_NETNS",
        ],
        _ => &["DEL again", "DEL of what is gone"],
    }
}

/// A device whose cable ends beside it.
fn with_device(row: Row) -> Row {
    row.host("link add dev0 address 02:00:00:00:00:01 mtu 1450 type veth peer name far0")
        .host("link set far0 up")
        .host("link set dev0 up")
}

fn rows() -> Vec<Row> {
    let base = with_device(Row::new(
        "",
        json!({"type": "host-device", "device": "dev0"}),
    ));
    let nameless = with_device(Row::new("", json!({"type": "host-device"})));
    let row = |name: &str, more: Value| but(&base, name, more);
    let mut rows = addressed::rows(&base, Leaves::Interface);
    rows.extend([
        row("layer 2", json!({})),
        row("layer 2 with an empty ipam", json!({"ipam": {}})),
        row(
            "layer 2 with own dns",
            json!({"dns": {"domain": "example.com"}}),
        ),
        row(
            "layer 2 behind another plugin",
            json!({"prevResult": addressed::earlier(&["x"], &[])}),
        ),
        row(
            "keys in capitals",
            json!({"DEVICE": "dev0", "device": null}),
        ),
        but(
            &nameless,
            "by its hardware address",
            json!({"hwaddr": "02:00:00:00:00:01", "ipam": dual()}),
        ),
        but(
            &nameless,
            "by its hardware address in another notation",
            json!({"hwaddr": "0200.0000.0001"}),
        ),
        but(
            &nameless,
            "by its path",
            json!({"kernelpath": "/sys/devices/virtual/net/absent"}),
        ),
        row(
            "the name before the hardware address",
            json!({"hwaddr": "02:00:00:00:00:99", "ipam": dual()}),
        ),
        row(
            "the name before a wrong hardware address",
            json!({"hwaddr": "nonsense"}),
        ),
        row(
            "the name before a wrong path",
            json!({"kernelpath": "/tmp"}),
        ),
        but(
            &nameless,
            "a hardware address before a wrong path",
            json!({"hwaddr": "02:00:00:00:00:01", "kernelpath": "/tmp"}),
        ),
        row("addresses of the host go", json!({"ipam": dual()}))
            .host("address add 203.0.113.1/24 dev dev0"),
        row("an alias", json!({})).host("link set dev0 alias mine"),
        row("a device that is down", json!({"ipam": dual()})).host("link set dev0 down"),
        row("its name is the pod's", json!({"device": "eth0"}))
            .host("link add eth0 address 02:00:00:00:00:02 type veth peer name far1"),
        row("its name exists in the pod", json!({"ipam": dual()})).pod("link add dev0 type bridge"),
        row("a device of a bridge", json!({}))
            .host("link add br7 type bridge")
            .host("link set dev0 master br7"),
        row(
            "useInterfaceNetwork off",
            json!({"useInterfaceNetwork": false, "ipam": dual()}),
        ),
        row(
            "useInterfaceNetwork, left to the executable",
            json!({"useInterfaceNetwork": true}),
        )
        .host("address add 203.0.113.1/24 dev dev0"),
        row(
            "DPDKMode, left to the executable",
            json!({"DPDKMode": false}),
        ),
        row(
            "an id of the runtime that is empty",
            json!({"runtimeConfig": {"deviceID": ""}, "ipam": dual()}),
        ),
        row(
            "an id of the runtime of no device",
            json!({"runtimeConfig": {"deviceID": "0000:ff:1f.7"}}),
        ),
        row(
            "a device of the bus that does not exist",
            json!({"pciBusID": "0000:ff:1f.7"}),
        ),
        but(&nameless, "nothing names a device", json!({})),
        but(
            &nameless,
            "a device that does not exist",
            json!({"device": "absent"}),
        ),
        but(
            &nameless,
            "a hardware address of no device",
            json!({"hwaddr": "02:00:00:00:00:99"}),
        ),
        but(
            &nameless,
            "no hardware address",
            json!({"hwaddr": "nonsense"}),
        ),
        but(
            &nameless,
            "a path that is none of devices",
            json!({"kernelpath": "/sys/class/net/dev0"}),
        ),
        but(&nameless, "a number for a name", json!({"device": 7})),
        but(
            &nameless,
            "a switch that is a text",
            json!({"device": "dev0", "useInterfaceNetwork": "yes"}),
        ),
        but(&nameless, "the loopback interface", json!({"device": "lo"})),
    ]);
    let rows = rows.into_iter();
    rows.map(|row| {
        let steps = steps_of(&row.name).iter();
        steps.fold(row.clone(), |row, step| row.differs(step, DELETED))
    })
    .collect()
}

#[test]
fn host_device_is_as_the_reference() {
    compare("host-device", 40, rows());
}
