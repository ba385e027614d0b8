//! `static`: every key at least twice, both families, what is asked for, and values that are wrong.

use serde_json::{Value, json};

use super::row::Row;
use super::run::compare;

const UNKNOWN: &str =
    "pairs of CNI_ARGS that nobody knows are ignored, with and without IgnoreUnknown";

fn row(name: &str, ipam: Value, more: Value) -> Row {
    let mut ipam = ipam;
    ipam["type"] = json!("static");
    let mut row = Row::new(name, json!({"type": "static", "ipam": ipam}));
    for (key, value) in more.as_object().unwrap() {
        row.conf[key] = value.clone();
    }
    row
}

fn of(name: &str, ipam: Value) -> Row {
    row(name, ipam, json!({}))
}

fn addresses(addresses: Value) -> Value {
    json!({"addresses": addresses})
}

fn both() -> Value {
    addresses(json!([
        {"address": "10.77.0.5/24", "gateway": "10.77.0.1"},
        {"address": "fd00:77::5/64", "gateway": "fd00:77::1"},
    ]))
}

fn with(key: &str, value: Value) -> Value {
    let mut ipam = both();
    ipam[key] = value;
    ipam
}

fn configured() -> Vec<Row> {
    vec![
        of("dual stack", both()),
        of("v4 only", addresses(json!([{"address": "10.77.0.5/24"}]))),
        of("v6 only", addresses(json!([{"address": "fd00:77::5/64"}]))),
        of(
            "a single host",
            addresses(json!([{"address": "10.77.0.5/32", "gateway": "10.0.0.1"}])),
        ),
        of(
            "several of a family",
            addresses(
                json!([{"address": "10.77.0.5/24"}, {"address": "10.77.0.6/24"}, {"address": "10.78.0.6/16", "gateway": "10.78.0.1"}]),
            ),
        ),
        of(
            "an address twice",
            addresses(json!([{"address": "10.77.0.5/24"}, {"address": "10.77.0.5/24"}])),
        ),
        of(
            "the version of an address",
            addresses(json!([{"address": "10.77.0.5/24", "version": "4"}])),
        ),
        of(
            "an empty gateway",
            addresses(json!([{"address": "10.77.0.5/24", "gateway": ""}])),
        ),
        of(
            "a gateway of the other family",
            addresses(json!([{"address": "10.77.0.5/24", "gateway": "fd00::1"}])),
        ),
        of(
            "an address mapped into IPv6",
            addresses(json!([{"address": "::ffff:10.77.0.5/120"}])),
        ),
        of("no addresses", json!({})),
        of("an empty list of addresses", addresses(json!([]))),
        of(
            "routes",
            with(
                "routes",
                json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00:77::9"}]),
            ),
        ),
        of(
            "routes with all keys",
            with(
                "routes",
                json!([{"dst": "192.0.2.0/24", "gw": "10.77.0.9", "mtu": 1400, "advmss": 1360, "priority": 7, "table": 100, "scope": 253}]),
            ),
        ),
        of("an empty list of routes", with("routes", json!([]))),
        of(
            "dns",
            with(
                "dns",
                json!({"nameservers": ["10.77.0.53", "fd00:77::53"], "domain": "example.com", "search": ["a.example.com"], "options": ["ndots:2"]}),
            ),
        ),
        of(
            "a part of dns",
            with("dns", json!({"search": ["a.example.com"], "domain": ""})),
        ),
        of("an empty dns", with("dns", json!({}))),
        of(
            "keys in capitals",
            json!({"ADDRESSES": [{"ADDRESS": "10.77.0.5/24", "GateWay": "10.77.0.1"}], "Dns": {"Domain": "x"}}),
        ),
        of("null for absent", with("routes", Value::Null)),
        of("a key that nobody knows", with("futureKey", json!(1))),
        row(
            "keys of the plugin that calls",
            both(),
            json!({"bridge": "br7", "dns": {"domain": "other"}}),
        ),
    ]
}

fn asked() -> Vec<Row> {
    let runtime =
        |name: &str, ips: Value| row(name, both(), json!({"runtimeConfig": {"ips": ips}}));
    let args = |name: &str, ips: Value| row(name, both(), json!({"args": {"cni": {"ips": ips}}}));
    vec![
        runtime("addresses of the runtime", json!(["10.77.0.7/24", "fd00:77::7/64"])),
        runtime("an address of the runtime", json!(["10.99.0.7/16"])),
        runtime("an empty list of the runtime", json!([])),
        runtime("an address without its prefix", json!(["10.77.0.7"])),
        runtime("a text for a list", json!("10.77.0.7/24")),
        args("addresses of args", json!(["10.77.0.8/24", "fd00:77::8/64"])),
        args("what is no address in args", json!(["10.77.0.8/240"])),
        row(
            "the runtime wins over args",
            both(),
            json!({"args": {"cni": {"ips": ["10.77.0.8/24"]}}, "runtimeConfig": {"ips": ["10.77.0.7/24"], "mac": "x"}}),
        ),
        of("an address of CNI_ARGS beside others", both()).args("IP=10.77.0.9/24"),
        of("an address of CNI_ARGS alone", json!({})).args("IP=10.77.0.9/24;GATEWAY=10.77.0.1"),
        of("addresses of CNI_ARGS", json!({}))
            .args("IgnoreUnknown=1;K8S_POD_NAME=x;IP=10.77.0.9/24, fd00:77::9/64;GATEWAY=fd00:77::1,10.77.0.1"),
        of("a gateway of no address", both()).args("IP=10.99.0.9/24;GATEWAY=10.77.0.1"),
        of("a gateway without an address", both()).args("GATEWAY=10.77.0.9"),
        of("a gateway that is none", both()).args("IP=10.99.0.9/24;GATEWAY=x"),
        of("an address of CNI_ARGS without its prefix", both()).args("IP=10.77.0.9"),
        of("an empty address of CNI_ARGS", both()).args("IP=;GATEWAY="),
        of("a pair of CNI_ARGS that nobody knows", both()).args("FOO=bar").differs("*", UNKNOWN),
        row("args win over CNI_ARGS", both(), json!({"args": {"cni": {"ips": ["10.77.0.8/24"]}}})).args("IP=10.77.0.9/24"),
    ]
}

fn wrong() -> Vec<Row> {
    let one = |name: &str, address: Value| of(name, addresses(json!([address])));
    let mut rows = vec![
        Row::new("no ipam", json!({"type": "static"})),
        one(
            "an address without its prefix",
            json!({"address": "10.77.0.5"}),
        ),
        one("no address", json!({"gateway": "10.77.0.1"})),
        one("an address that is none", json!({"address": "nonsense"})),
        one(
            "a gateway that is none",
            json!({"address": "10.77.0.5/24", "gateway": "nonsense"}),
        ),
        one("a number for an address", json!({"address": 5})),
        of(
            "addresses that are no list",
            addresses(json!({"address": "10.77.0.5/24"})),
        ),
        of(
            "a route that is none",
            with("routes", json!([{"dst": "nonsense"}])),
        ),
        of(
            "dns that is none",
            with("dns", json!({"nameservers": "10.77.0.53"})),
        ),
        row("no name", both(), json!({"name": ""})),
        row("an unknown version", both(), json!({"cniVersion": "9.9.9"})),
    ];
    for version in [
        "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
    ] {
        let ipam = with(
            "routes",
            json!([{"dst": "0.0.0.0/0", "mtu": 1400}, {"dst": "::/0"}]),
        );
        rows.push(row(
            &format!("version {version}"),
            ipam,
            json!({"cniVersion": version}),
        ));
        let two = addresses(json!([{"address": "10.77.0.5/24"}, {"address": "10.77.0.6/24"}]));
        rows.push(row(
            &format!("two of a family, version {version}"),
            two,
            json!({"cniVersion": version}),
        ));
    }
    rows
}

#[test]
fn static_is_as_the_reference() {
    compare("static", 60, [configured(), asked(), wrong()].concat());
}
