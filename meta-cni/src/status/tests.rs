//! The annotation's exact text, and each rule for its elements.

use cni::version::Version;
use serde_json::json;

use super::*;

fn result(value: Value) -> CniResult {
    CniResult::from_value(&value, Version::LATEST).unwrap()
}

fn attachment<'a>(name: &'a str, ifname: &'a str, result: &'a CniResult) -> AttachmentStatus<'a> {
    AttachmentStatus {
        name,
        ifname,
        result,
        is_default: false,
        device_info: None,
    }
}

fn status_of(value: Value) -> Value {
    let result = result(value);
    serde_json::from_str(&network_status(&[attachment("ns/net", "net1", &result)])).unwrap()
}

fn bridge() -> CniResult {
    result(json!({
        "interfaces": [
            {"name": "cni0", "mac": "0a:00:00:00:00:01"},
            {"name": "veth1", "mac": "0a:00:00:00:00:02"},
            {"name": "eth0", "mac": "0a:00:00:00:00:03", "mtu": 1450, "sandbox": "/run/netns/p"},
        ],
        "ips": [
            {"interface": 2, "address": "10.1.0.5/24", "gateway": "10.1.0.1"},
            {"interface": 2, "address": "fd00::5/64", "gateway": "fd00::1"},
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::9"}, {"dst": "10.0.0.0/8", "gw": "10.1.0.7"}],
        "dns": {"nameservers": ["10.96.0.10"], "search": ["a.test"]},
    }))
}

#[test]
fn the_text_is_that_of_the_client_library() {
    let first = bridge();
    let second = result(json!({
        "interfaces": [{"name": "net1", "sandbox": "/run/netns/p"}],
        "ips": [],
    }));
    let device = json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": "0000:3b:02.1"}});
    let text = network_status(&[
        AttachmentStatus {
            is_default: true,
            ..attachment("cbr0", "eth0", &first)
        },
        AttachmentStatus {
            device_info: Some(&device),
            ..attachment("default/sriov", "net1", &second)
        },
    ]);
    let expected = r#"[{
    "name": "cbr0",
    "interface": "eth0",
    "ips": [
        "10.1.0.5",
        "fd00::5"
    ],
    "mac": "0a:00:00:00:00:03",
    "mtu": 1450,
    "default": true,
    "dns": {
        "nameservers": [
            "10.96.0.10"
        ],
        "search": [
            "a.test"
        ]
    },
    "gateway": [
        "10.1.0.1",
        "fd00::9"
    ]
},{
    "name": "default/sriov",
    "interface": "net1",
    "dns": {},
    "device-info": {
        "type": "pci",
        "version": "1.1.0",
        "pci": {
            "pci-address": "0000:3b:02.1"
        }
    }
}]"#;
    assert_eq!(text, expected);
}

#[test]
fn no_attachment_is_an_empty_list() {
    assert_eq!(network_status(&[]), "[]");
}

#[test]
fn a_result_without_interfaces_still_has_its_attachments_name_and_addresses() {
    let status = status_of(json!({
        "ips": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}],
        "routes": [{"dst": "0.0.0.0/0"}],
    }));
    assert_eq!(
        status,
        json!([{
            "name": "ns/net",
            "interface": "net1",
            "ips": ["10.1.0.5"],
            "dns": {},
            "gateway": ["10.1.0.1"],
        }])
    );
}

#[test]
fn an_interface_named_without_sandbox_describes_the_attachment_if_the_name_is_its_own() {
    let status = status_of(json!({
        "interfaces": [{"name": "br0", "mac": "a"}, {"name": "net1", "mac": "b", "mtu": 1400}],
        "ips": [{"address": "10.1.0.5/24", "interface": 1}],
    }));
    assert_eq!(
        status,
        json!([{
            "name": "ns/net",
            "interface": "net1",
            "ips": ["10.1.0.5"],
            "mac": "b",
            "mtu": 1400,
            "dns": {},
        }])
    );
}

#[test]
fn every_interface_in_the_sandbox_has_its_own_addresses() {
    let status = status_of(json!({
        "interfaces": [
            {"name": "host"},
            {"name": "net1", "sandbox": "/run/netns/p"},
            {"name": "net1.5", "sandbox": "/run/netns/p"},
        ],
        "ips": [
            {"address": "10.5.0.5/24", "interface": 2},
            {"address": "10.1.0.5/24", "interface": 1},
            {"address": "10.9.0.5/24", "interface": 0},
            {"address": "fd00::5/64"},
        ],
    }));
    assert_eq!(
        status,
        json!([
            {"name": "ns/net", "interface": "net1", "ips": ["10.1.0.5", "fd00::5"], "dns": {}},
            {"name": "ns/net", "interface": "net1.5", "ips": ["10.5.0.5"], "dns": {}},
        ])
    );
}

#[test]
fn exactly_one_interface_is_the_default() {
    let two = result(json!({
        "interfaces": [
            {"name": "eth0", "sandbox": "/run/netns/p"},
            {"name": "eth1", "sandbox": "/run/netns/p"},
        ],
    }));
    let as_default = |name| AttachmentStatus {
        is_default: true,
        ..attachment(name, "eth0", &two)
    };
    let text = network_status(&[
        attachment("a", "net1", &two),
        as_default("b"),
        as_default("c"),
    ]);
    let status: Vec<Value> = serde_json::from_str(&text).unwrap();
    let defaults: Vec<&Value> = status
        .iter()
        .filter(|element| element.get("default").is_some())
        .collect();
    assert_eq!(status.len(), 6);
    assert_eq!(defaults.len(), 1);
    assert_eq!(defaults[0]["name"], "b");
    assert_eq!(defaults[0]["interface"], "eth0");
    assert_eq!(defaults[0]["default"], true);
}

#[test]
fn the_default_is_the_first_interface_that_has_an_address_with_a_gateway() {
    let (none, some) = (json!(null), json!("10.2.0.1"));
    let ip = |interface: Value, gateway: &Value| {
        let address = "10.2.0.5/24";
        json!({"interface": interface, "address": address, "gateway": gateway})
    };
    let cases = [
        ("no address", json!([]), "eth0"),
        (
            "no gateway",
            json!([ip(json!(1), &none), ip(json!(3), &none)]),
            "eth0",
        ),
        (
            "of the first",
            json!([ip(json!(1), &some), ip(json!(3), &none)]),
            "eth0",
        ),
        (
            "of the second",
            json!([ip(json!(1), &none), ip(json!(3), &some)]),
            "udn1",
        ),
        (
            "of both",
            json!([ip(json!(3), &some), ip(json!(1), &some)]),
            "udn1",
        ),
        ("of none in the pod", json!([ip(json!(0), &some)]), "eth0"),
        (
            "of one on the host before",
            json!([ip(json!(0), &some), ip(json!(3), &some)]),
            "udn1",
        ),
        ("of no interface", json!([ip(none.clone(), &some)]), "eth0"),
    ];
    for (name, ips, expected) in cases {
        let result = result(json!({
            "interfaces": [
                {"name": "host1"}, {"name": "eth0", "sandbox": "/run/netns/p"},
                {"name": "host2"}, {"name": "udn1", "sandbox": "/run/netns/p"},
            ],
            "ips": ips,
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.2.0.1"}],
        }));
        let default = AttachmentStatus {
            is_default: true,
            ..attachment("ovn", "eth0", &result)
        };
        let text = network_status(&[default, attachment("ns/net", "net1", &result)]);
        let status: Vec<Value> = serde_json::from_str(&text).unwrap();
        let is_default = |element: &&Value| element.get("default").is_some();
        let defaults: Vec<&Value> = status.iter().filter(is_default).collect();
        assert_eq!(defaults.len(), 1, "{name}");
        assert_eq!(defaults[0]["name"], "ovn", "{name}");
        assert_eq!(defaults[0]["interface"], expected, "{name}");
        assert_eq!(defaults[0]["gateway"], json!(["10.2.0.1"]), "{name}");
    }
}

#[test]
fn a_result_without_an_interface_in_the_pod_and_without_an_address_is_no_element() {
    let host = json!([{"name": "veth1"}, {"name": "br0"}]);
    for (name, value) in [
        ("nothing", json!({})),
        ("interfaces on the host", json!({"interfaces": host})),
        ("routes", json!({"routes": [{"dst": "0.0.0.0/0"}]})),
        (
            "name servers",
            json!({"dns": {"nameservers": ["10.0.0.10"]}}),
        ),
    ] {
        assert_eq!(status_of(value), json!([]), "{name}");
    }
    let own = status_of(json!({"interfaces": [{"name": "net1", "mac": "b"}]}));
    assert_eq!(own[0]["interface"], "net1");
}

#[test]
fn gateways_are_those_of_default_routes_each_once() {
    for (name, routes, expected) in [
        ("no route", json!([]), json!(null)),
        (
            "no default route",
            json!([{"dst": "10.0.0.0/8", "gw": "10.1.0.9"}]),
            json!(null),
        ),
        (
            "its own",
            json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.9"}]),
            json!(["10.1.0.9"]),
        ),
        (
            "of the subnet",
            json!([{"dst": "0.0.0.0/0"}]),
            json!(["10.1.0.1"]),
        ),
        ("no gateway at all", json!([{"dst": "::/0"}]), json!(null)),
        (
            "one twice",
            json!([{"dst": "0.0.0.0/0", "table": 5}, {"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]),
            json!(["10.1.0.1"]),
        ),
        (
            "half of all addresses is no default route",
            json!([{"dst": "0.0.0.0/1"}, {"dst": "128.0.0.0/1"}]),
            json!(null),
        ),
    ] {
        let status = status_of(json!({
            "ips": [
                {"address": "fd00::5/64"},
                {"address": "10.1.0.5/24", "gateway": "10.1.0.1"},
            ],
            "routes": routes,
        }));
        assert_eq!(status[0]["gateway"], expected, "{name}");
    }
}

#[test]
fn a_summary_is_read_by_people() {
    assert_eq!(summary(&bridge()), "10.1.0.5/24, fd00::5/64");
    assert_eq!(summary(&CniResult::default()), "no address");
}
