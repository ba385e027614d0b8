//! Real results of the reference plugins, conversions beside those of libcni, and every bad field.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;

use super::*;

/// Results of the reference plugins and of hand-made cases ("from"), and what libcni 1.3 makes of
/// each ("to", by version; null where it refuses).
const LIBCNI: &str = include_str!("libcni.json");

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    from: Value,
    to: std::collections::BTreeMap<Version, Value>,
}

fn read(value: Value) -> CniResult {
    CniResult::from_value(&value, Version::LATEST).unwrap()
}

fn message(value: Value) -> String {
    CniResult::from_value(&value, Version::LATEST)
        .unwrap_err()
        .to_string()
}

#[test]
fn conversions_are_those_of_libcni() {
    let cases: Vec<Case> = serde_json::from_str(LIBCNI).unwrap();
    for case in cases {
        let result = CniResult::from_value(&case.from, Version::LATEST)
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        for (version, expected) in case.to {
            let converted = result.to_value(version);
            match converted {
                Ok(value) => assert_eq!(value, expected, "{} to {version}", case.name),
                Err(ResultError::NoAddress { version: refused }) => {
                    assert_eq!(refused, version);
                    assert_eq!(expected, Value::Null, "{} to {version}", case.name);
                }
                Err(error) => panic!("{} to {version}: {error}", case.name),
            }
        }
    }
}

#[test]
fn a_bridge_result_reads_the_same_in_every_version_with_lists() {
    let expected = CniResult {
        interfaces: vec![
            Interface {
                name: "cni0".into(),
                mac: Some("2a:f2:99:91:c3:f8".into()),
                ..Interface::default()
            },
            Interface {
                name: "eth0".into(),
                sandbox: Some("/var/run/netns/pod".into()),
                ..Interface::default()
            },
        ],
        ips: vec![IpConfig {
            interface: Some(1),
            address: "10.1.2.4/24".parse().unwrap(),
            gateway: Some(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 1))),
        }],
        routes: vec![plain_route("0.0.0.0/0".parse().unwrap(), None)],
        dns: Dns {
            nameservers: vec!["10.1.0.1".into()],
            ..Dns::default()
        },
    };
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let printed = json!({
            "cniVersion": version,
            "interfaces": [
                {"name": "cni0", "mac": "2a:f2:99:91:c3:f8"},
                {"name": "eth0", "sandbox": "/var/run/netns/pod"},
            ],
            "ips": [{"version": "4", "interface": 1, "address": "10.1.2.4/24", "gateway": "10.1.2.1"}],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dns": {"nameservers": ["10.1.0.1"]},
        });
        assert_eq!(read(printed), expected, "{version}");
    }
}

#[test]
fn loopback_prints_no_address_version_in_0_3_1_and_still_converts_down() {
    let loopback = read(json!({
        "cniVersion": "0.3.1",
        "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": "/var/run/netns/pod"}],
        "ips": [{"interface": 0, "address": "127.0.0.1/8"}, {"interface": 0, "address": "::1/128"}],
        "dns": {},
    }));
    assert_eq!(
        loopback.to_value(Version::V0_2_0).unwrap(),
        json!({
            "cniVersion": "0.2.0",
            "ip4": {"ip": "127.0.0.1/8"},
            "ip6": {"ip": "::1/128"},
            "dns": {},
        })
    );
}

#[test]
fn what_plugins_print_for_nothing_is_nothing() {
    let result = read(json!({
        "cniVersion": "",
        "interfaces": [{"name": "eth0", "mac": "", "mtu": 0, "sandbox": "", "extra": {"a": [1]}}],
        "ips": [{"interface": null, "address": "10.1.2.3/24", "gateway": ""}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "", "priority": 0, "table": 0}, {"dst": "::/0", "gw": null}],
        "dns": {"nameservers": null, "domain": ""},
        "unknown": null,
    }));
    let expected = CniResult {
        interfaces: vec![Interface {
            name: "eth0".into(),
            ..Interface::default()
        }],
        ips: vec![IpConfig {
            interface: None,
            address: "10.1.2.3/24".parse().unwrap(),
            gateway: None,
        }],
        routes: vec![
            Route {
                table: Some(0),
                ..plain_route("0.0.0.0/0".parse().unwrap(), None)
            },
            plain_route("::/0".parse().unwrap(), None),
        ],
        dns: Dns::default(),
    };
    assert_eq!(result, expected);
    let empty = read(json!({"interfaces": null, "ips": null, "routes": []}));
    assert_eq!(empty, CniResult::default());
}

#[test]
fn the_version_of_the_result_wins_over_the_default() {
    let legacy = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.2.3/24"}});
    assert_eq!(read(legacy).ips.len(), 1);
    let unversioned = json!({"ip4": {"ip": "10.1.2.3/24"}});
    let read_as = |version| CniResult::from_value(&unversioned, version).unwrap();
    assert_eq!(read_as(Version::V0_1_0).ips.len(), 1);
    assert_eq!(read_as(Version::V1_0_0).ips.len(), 0);
}

#[test]
fn an_empty_output_is_named_as_such() {
    for bytes in [&b""[..], b" \n\t"] {
        let error = CniResult::parse(bytes, Version::LATEST).unwrap_err();
        assert!(matches!(error, ResultError::Empty), "{error}");
        assert!(error.to_string().contains("printed nothing"));
    }
}

#[test]
fn an_output_that_is_not_json_is_a_syntax_error() {
    for bytes in [&b"panic: x"[..], b"{\"ips\":", b"{} {}", b"\xff", b"{\0}"] {
        let error = CniResult::parse(bytes, Version::LATEST).unwrap_err();
        assert!(matches!(error, ResultError::Syntax { .. }), "{error}");
    }
    let deep = "[".repeat(1_000_000);
    CniResult::parse(deep.as_bytes(), Version::LATEST).unwrap_err();
}

#[test]
fn every_bad_field_is_named() {
    let address = json!({"address": "10.1.2.3/24"});
    for (value, field) in [
        (json!(null), "it must be an object, not null"),
        (json!([]), "it must be an object, not a list"),
        (json!({"cniVersion": "9.9.9"}), "cniVersion"),
        (json!({"cniVersion": 1}), "cniVersion"),
        (json!({"interfaces": {}}), "interfaces must be a list"),
        (
            json!({"interfaces": [null]}),
            "interfaces[0] must be an object, not null",
        ),
        (json!({"interfaces": [["eth0"]]}), "interfaces[0]"),
        (json!({"interfaces": [{"mac": "x"}]}), "interfaces[0].name"),
        (json!({"interfaces": [{"name": ""}]}), "interfaces[0].name"),
        (
            json!({"interfaces": [{"name": "a", "mtu": -1}]}),
            "interfaces[0].mtu",
        ),
        (
            json!({"interfaces": [{"name": "a", "mtu": 4294967296u64}]}),
            "interfaces[0].mtu",
        ),
        (
            json!({"interfaces": [{"name": "a", "sandbox": 3}]}),
            "interfaces[0].sandbox",
        ),
        (json!({"ips": [address, {}]}), "ips[1].address"),
        (
            json!({"ips": [address, {"address": null}]}),
            "ips[1].address",
        ),
        (json!({"ips": [{"address": "10.1.2.3"}]}), "ips[0].address"),
        (
            json!({"ips": [{"address": "10.1.2.3/33"}]}),
            "ips[0].address",
        ),
        (
            json!({"ips": [{"address": "10.1.2.3/+8"}]}),
            "ips[0].address",
        ),
        (json!({"ips": [{"address": "10.1.2.3/"}]}), "ips[0].address"),
        (
            json!({"ips": [{"address": "fe80::1%eth0/64"}]}),
            "ips[0].address",
        ),
        (
            json!({"ips": [{"address": "10.1.2.3/24", "gateway": "gw"}]}),
            "ips[0].gateway",
        ),
        (
            json!({"ips": [{"address": "10.1.2.3/24", "interface": -1}]}),
            "ips[0].interface",
        ),
        (
            json!({"ips": [{"address": "10.1.2.3/24", "interface": "0"}]}),
            "ips[0].interface",
        ),
        (
            json!({"ips": [{"address": "10.1.2.3/24", "interface": 0}]}),
            "ips[0].interface is 0",
        ),
        (json!({"routes": [null]}), "routes[0]"),
        (json!({"routes": [{"gw": "10.0.0.1"}]}), "routes[0].dst"),
        (
            json!({"routes": [{"dst": "10.0.0.0/8", "gw": "10.0.0.1/8"}]}),
            "routes[0].gw",
        ),
        (
            json!({"routes": [{"dst": "10.0.0.0/8", "table": 1.5}]}),
            "routes[0].table",
        ),
        (json!({"dns": null}), "dns"),
        (json!({"dns": {"search": "a"}}), "dns.search"),
        (json!({"dns": {"search": ["a", null]}}), "dns.search[1]"),
        (json!({"cniVersion": "0.2.0", "ip4": null}), "ip4"),
        (
            json!({"cniVersion": "0.2.0", "ip4": {"ip": "fd00::1/64"}}),
            "ip4.ip",
        ),
        (
            json!({"cniVersion": "0.2.0", "ip6": {"ip": "fd00::1/64", "routes": [{}]}}),
            "ip6.routes[0].dst",
        ),
    ] {
        let text = message(value.clone());
        assert!(text.contains(field), "{value}: {text}");
    }
}

#[test]
fn an_error_stays_short_however_long_the_value() {
    let text = message(json!({"ips": [{"address": "é".repeat(100_000)}]}));
    assert!(text.len() < 300, "{text}");
}

#[test]
fn host_bits_and_the_case_of_a_mac_are_kept() {
    let result = read(json!({
        "interfaces": [{"name": "eth0", "mac": "0A:bC:00:00:00:01"}],
        "ips": [{"address": "10.1.2.3/24"}],
    }));
    assert_eq!(
        result.interfaces[0].mac.as_deref(),
        Some("0A:bC:00:00:00:01")
    );
    assert_eq!(result.ips[0].address.to_string(), "10.1.2.3/24");
}

#[test]
fn an_index_without_interface_is_not_written_either() {
    let mut result = read(json!({"ips": [{"address": "10.1.2.3/24"}]}));
    result.ips[0].interface = Some(3);
    for version in Version::ALL {
        let error = result.to_value(version).unwrap_err();
        assert!(
            matches!(error, ResultError::NoSuchInterface { .. }),
            "{error}"
        );
    }
}

/// A route with a destination and a next hop only.
pub(super) fn plain_route(dst: IpNetwork, gw: Option<IpAddr>) -> Route {
    Route {
        dst,
        gw,
        mtu: None,
        advmss: None,
        priority: None,
        table: None,
        scope: None,
    }
}
