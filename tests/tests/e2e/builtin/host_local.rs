//! `host-local`: every key at least twice, both families, what is asked for, and values that are wrong.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use cni::plugins::{Call, Plugins as _, Target};
use cni::skel::Command;
use plugins::{Builtin, Selection};
use serde_json::{Value, json};

use super::row::Row;
use super::run::{compare, executables};

const V4: &str = "10.77.0.0/24";
const V6: &str = "fd00:77::/64";

/// `ipam` with its type and folder, and the keys of `more` beside it.
fn row(name: &str, ipam: Value, more: Value) -> Row {
    let mut ipam = ipam;
    for (key, value) in [("type", "host-local"), ("dataDir", "{data}")] {
        if ipam.get(key).is_none() {
            ipam[key] = json!(value);
        }
    }
    let mut row = Row::new(name, json!({"type": "host-local", "ipam": ipam}));
    for (key, value) in more.as_object().unwrap() {
        row.conf[key] = value.clone();
    }
    row
}

fn of(name: &str, ipam: Value) -> Row {
    row(name, ipam, json!({}))
}

fn sets(subnets: &[&str]) -> Value {
    let sets = subnets.iter().map(|subnet| json!([{"subnet": subnet}]));
    json!({"ranges": sets.collect::<Vec<_>>()})
}

/// What a runtime asks for with its capability `ips`.
fn asking(name: &str, subnets: &[&str], ips: Value) -> Row {
    row(name, sets(subnets), json!({"runtimeConfig": {"ips": ips}}))
}

const UNKNOWN: &str =
    "pairs of CNI_ARGS that nobody knows are ignored, with and without IgnoreUnknown";
const KEPT: &str =
    "an ADD that fails releases what it leased itself, not what an earlier one leased";

fn configured() -> Vec<Row> {
    let both = || sets(&[V4, V6]);
    let with = |key: &str, value: Value| {
        let mut ipam = both();
        ipam[key] = value;
        ipam
    };
    let one = |range: Value| json!({"ranges": [[range]]});
    vec![
        of("dual stack", both()),
        of("v6 first", sets(&[V6, V4])),
        of("v4 only", sets(&[V4])),
        of("v6 only", sets(&[V6])),
        of("two sets of a family", sets(&[V4, "10.78.0.0/24", V6, "fd00:78::/64"])),
        of("a subnet alone", json!({"subnet": V4})),
        of("a v6 subnet alone", json!({"subnet": V6})),
        of(
            "a subnet with all keys",
            json!({"subnet": V4, "rangeStart": "10.77.0.20", "rangeEnd": "10.77.0.30", "gateway": "10.77.0.254"}),
        ),
        of("a subnet before sets", {
            let mut ipam = sets(&[V6]);
            ipam["subnet"] = json!(V4);
            ipam
        }),
        of("keys of a range without its subnet", {
            let mut ipam = sets(&[V4]);
            ipam["rangeStart"] = json!("10.9.9.9");
            ipam["gateway"] = json!("nonsense");
            ipam
        })
        .differs("*", "what is not used is not read"),
        of(
            "a part of a subnet",
            one(json!({"subnet": V4, "rangeStart": "10.77.0.50", "rangeEnd": "10.77.0.60"})),
        ),
        of(
            "a part of a v6 subnet",
            one(json!({"subnet": V6, "rangeStart": "fd00:77::50", "rangeEnd": "fd00:77::60", "gateway": "fd00:77::55"})),
        ),
        of("a start alone", one(json!({"subnet": V4, "rangeStart": "10.77.0.50"}))),
        of("an end alone", one(json!({"subnet": V4, "rangeEnd": "10.77.0.3"}))),
        of("a gateway first in its range", one(json!({"subnet": V4, "gateway": "10.77.0.2"}))),
        of(
            "several ranges in a set",
            json!({"ranges": [[
                {"subnet": V4, "rangeStart": "10.77.0.9", "rangeEnd": "10.77.0.9"},
                {"subnet": "10.78.0.0/24", "gateway": "10.78.0.254"},
            ]]}),
        ),
        of("empty texts for absent", one(json!({"subnet": V4, "rangeStart": "", "rangeEnd": "", "gateway": ""}))),
        of("the smallest subnet", sets(&["10.77.0.0/30"])),
        of("a large v6 subnet", sets(&["fd00::/8"])),
        of("a whole family", sets(&["0.0.0.0/0"])),
        of(
            "routes",
            with("routes", json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00:77::9"}])),
        ),
        of(
            "routes with all keys",
            with("routes", json!([{"dst": "192.0.2.0/24", "gw": "10.77.0.9", "mtu": 1400, "advmss": 1360, "priority": 7, "table": 100, "scope": 0}])),
        ),
        of("a route with bits of a host", with("routes", json!([{"dst": "192.0.2.7/24"}]))),
        of("a route that is none", with("routes", json!([{"dst": "nonsense"}]))).differs("*", "DEL and GC do not need what the result would have"),
        of("a resolv.conf", with("resolvConf", json!("{data}/resolv.conf"))).file(
            "resolv.conf",
            "# mine\nnameserver 10.77.0.53\nnameserver fd00:77::53\ndomain example.com\nsearch a.example.com b.example.com\noptions ndots:2 edns0\n",
        ),
        of("an empty resolv.conf", with("resolvConf", json!("{data}/resolv.conf"))).file("resolv.conf", ""),
        of("no resolv.conf", with("resolvConf", json!("{data}/resolv.conf"))),
        of("a folder below", with("dataDir", json!("{data}/a/b"))),
        of("a folder that is a file", with("dataDir", json!("{data}/file"))).file("file", ""),
        row("keys of the plugin that calls", both(), json!({"bridge": "br7", "mtu": 1400, "isGateway": true})),
        of("keys in capitals", json!({"RANGES": [[{"SUBNET": V4, "rangestart": "10.77.0.7"}]], "ROUTES": [{"DST": "192.0.2.0/24"}]})),
        of("null for absent", with("routes", Value::Null)),
        of("a name in ipam", with("name", json!("other"))),
        of("a key that nobody knows", with("futureKey", json!(1))),
    ]
}

fn asked() -> Vec<Row> {
    let args = |name: &str, ips: Value| {
        row(
            name,
            sets(&[V4, V6]),
            json!({"args": {"cni": {"ips": ips}}}),
        )
    };
    let ranges = |name: &str, ipam: Value, ranges: Value| {
        row(name, ipam, json!({"runtimeConfig": {"ipRanges": ranges}}))
    };
    vec![
        asking("an address of the runtime", &[V4], json!(["10.77.0.40"])),
        asking(
            "an address with its prefix",
            &[V4],
            json!(["10.77.0.40/16"]),
        ),
        asking(
            "an address of each family",
            &[V4, V6],
            json!(["fd00:77::40", "10.77.0.40"]),
        ),
        asking(
            "an address of the second set alone",
            &[V4, V6],
            json!(["fd00:77::40"]),
        ),
        // Of two in one set, the reference takes one or the other.
        asking(
            "an address of the set and one of none",
            &[V4],
            json!(["10.77.0.40", "10.99.0.41"]),
        ),
        asking(
            "an address twice",
            &[V4],
            json!(["10.77.0.40", "10.77.0.40"]),
        ),
        asking("an address of no set", &[V4], json!(["10.99.0.40"])),
        asking("the gateway", &[V4], json!(["10.77.0.1"])),
        asking(
            "the address of the broadcast",
            &[V4],
            json!(["10.77.0.255"]),
        ),
        asking("an empty list", &[V4], json!([])),
        asking("no list", &[V4], Value::Null),
        asking("an empty address", &[V4], json!([""])),
        asking("what is no address", &[V4], json!(["nonsense"])),
        asking("a text for a list", &[V4], json!("10.77.0.40")),
        asking("an address that is leased", &[V4], json!(["10.77.0.40"]))
            .file("net/10.77.0.40", "other\r\neth0"),
        asking(
            "an IPv4 address mapped into IPv6",
            &[V4],
            json!(["::ffff:10.77.0.40"]),
        ),
        asking(
            "an address of the second set that is leased",
            &[V4, V6],
            json!(["fd00:77::40"]),
        )
        .file("net/fd00:77::40", "other\r\neth0"),
        args("an address of args", json!(["10.77.0.41"])),
        args("addresses of args", json!(["10.77.0.41", "fd00:77::41/64"])),
        args("what is no address in args", json!(["10.77.0"])),
        row(
            "args and runtime",
            sets(&[V4, V6]),
            json!({"args": {"cni": {"ips": ["10.77.0.41"]}}, "runtimeConfig": {"ips": ["fd00:77::42"], "mac": "02:00:00:00:00:01"}}),
        ),
        of("an address of CNI_ARGS", sets(&[V4])).args("IP=10.77.0.43"),
        of("an address of CNI_ARGS with others", sets(&[V4, V6]))
            .args("IgnoreUnknown=true;K8S_POD_NAME=x;IP=fd00:77::43/64"),
        of("an empty address of CNI_ARGS", sets(&[V4])).args("IP="),
        of("no address in CNI_ARGS", sets(&[V4])).args("IP=nonsense"),
        of("a pair of CNI_ARGS that nobody knows", sets(&[V4]))
            .args("FOO=bar")
            .differs("*", UNKNOWN),
        ranges(
            "ranges of the runtime",
            json!({}),
            json!([[{"subnet": "10.79.0.0/24", "rangeStart": "10.79.0.9"}]]),
        ),
        ranges(
            "ranges of the runtime before others",
            sets(&[V4]),
            json!([[{"subnet": "10.79.0.0/24"}], [{"subnet": V6}]]),
        ),
        ranges(
            "ranges of the runtime that overlap",
            sets(&[V4]),
            json!([[{"subnet": V4}]]),
        ),
        ranges(
            "ranges of the runtime in capitals",
            json!({}),
            json!([[{"SUBNET": "10.79.0.0/24", "other": 1}]]),
        ),
    ]
}

fn leased() -> Vec<Row> {
    let other = "other\r\neth0";
    let small = || sets(&["10.77.0.0/29"]);
    let full = |mut row: Row, from: u8| {
        for host in from..=6 {
            row = row.file(&format!("net/10.77.0.{host}"), other);
        }
        row
    };
    let mut many = of(
        "more leases than an index is for",
        sets(&["10.77.0.0/16", V6]),
    );
    for number in 0..300 {
        many = many.file(
            &format!("net/10.77.{}.{}", number / 256, number % 256),
            other,
        );
    }
    vec![
        many.file("net/last_reserved_ip.0", "10.77.0.9"),
        of("the first is leased", small()).file("net/10.77.0.2", other),
        of("the next after the last", small()).file("net/last_reserved_ip.0", "10.77.0.4"),
        of("around the end", small()).file("net/last_reserved_ip.0", "10.77.0.6"),
        of("around the end over leases", small())
            .file("net/last_reserved_ip.0", "10.77.0.5")
            .file("net/10.77.0.6", other)
            .file("net/10.77.0.2", other),
        of("a last address of other ranges", small()).file("net/last_reserved_ip.0", "10.99.0.4"),
        of("a last address that is none", small()).file("net/last_reserved_ip.0", "nonsense"),
        of("an empty last address", small()).file("net/last_reserved_ip.0", ""),
        full(of("full", small()), 2),
        full(of("one is left", small()), 3),
        full(
            of("one is left around the end", small()).file("net/last_reserved_ip.0", "10.77.0.3"),
            3,
        ),
        full(
            of(
                "the second set is full",
                json!({"ranges": [[{"subnet": V6}], [{"subnet": "10.77.0.0/29"}]]}),
            ),
            2,
        ),
        of("many are leased", sets(&["10.77.0.0/24"]))
            .file("net/last_reserved_ip.0", "10.77.0.200"),
        of("a lease of an old plugin", small()).file("net/10.77.0.3", "c0ffee"),
        of("a lease of its own", small()).file("net/10.77.0.3", "c0ffee\r\neth0"),
        of("a lease of its own with a line end", small()).file("net/10.77.0.3", "c0ffee\r\neth0\n"),
        of("a lease of another interface", small()).file("net/10.77.0.3", "c0ffee\r\nnet1"),
        of("a lease of other ranges", small()).file("net/10.99.0.3", "c0ffee\r\neth0"),
        of("a lease that names nobody", small()).file("net/10.77.0.2", ""),
        asking(
            "a lease of its own of the second set",
            &[V4, V6],
            json!(["10.77.0.40"]),
        )
        .file("net/fd00:77::3", "c0ffee\r\neth0")
        .differs("ADD", KEPT),
    ]
}

fn wrong() -> Vec<Row> {
    let range = |name: &str, range: Value| of(name, json!({"ranges": [[range]]}));
    let mut rows = vec![
        Row::new("no ipam", json!({"type": "host-local"})),
        of("no ranges", json!({})),
        of("an empty list of ranges", json!({"ranges": []})),
        of("an empty set", json!({"ranges": [[]]})),
        range(
            "a range without a subnet",
            json!({"rangeStart": "10.77.0.3"}),
        ),
        range("a subnet that is none", json!({"subnet": "nonsense"})),
        range("an empty subnet", json!({"subnet": ""})),
        range("a subnet without a prefix", json!({"subnet": "10.77.0.0"})),
        range(
            "a subnet with bits of a host",
            json!({"subnet": "10.77.0.9/24"}),
        ),
        range("a subnet of two", json!({"subnet": "10.77.0.0/31"})),
        range("a subnet of one", json!({"subnet": "fd00:77::/128"})),
        range(
            "a subnet that is mapped",
            json!({"subnet": "::ffff:10.77.0.0/120"}),
        ),
        range(
            "a prefix that is too long",
            json!({"subnet": "10.77.0.0/64"}),
        ),
        range(
            "a start outside",
            json!({"subnet": V4, "rangeStart": "10.78.0.1"}),
        ),
        range(
            "an end outside",
            json!({"subnet": V4, "rangeEnd": "10.78.0.1"}),
        ),
        range(
            "a start above the end",
            json!({"subnet": V4, "rangeStart": "10.77.0.9", "rangeEnd": "10.77.0.8"}),
        ),
        range(
            "a gateway outside",
            json!({"subnet": V4, "gateway": "10.78.0.1"}),
        ),
        range(
            "a gateway of the other family",
            json!({"subnet": V4, "gateway": "fd00:77::1"}),
        ),
        range(
            "a start that is no address",
            json!({"subnet": V4, "rangeStart": "x"}),
        ),
        range(
            "the network as the start",
            json!({"subnet": V4, "rangeStart": "10.77.0.0", "rangeEnd": "10.77.0.1"}),
        ),
        range(
            "nothing but the gateway",
            json!({"subnet": V4, "rangeEnd": "10.77.0.1"}),
        ),
        of(
            "both families in a set",
            json!({"ranges": [[{"subnet": V4}, {"subnet": V6}]]}),
        ),
        of(
            "ranges of a set that overlap",
            json!({"ranges": [[{"subnet": V4}, {"subnet": "10.77.0.0/16"}]]}),
        ),
        of("sets that overlap", sets(&[V4, "10.77.0.0/16"])),
        of("ranges that are no list", json!({"ranges": "x"})),
        of("a number for a folder", json!({"dataDir": 1, "subnet": V4})),
        row("no name", sets(&[V4]), json!({"name": ""})),
        row(
            "an unknown version",
            sets(&[V4]),
            json!({"cniVersion": "9.9.9"}),
        ),
    ];
    for version in [
        "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
    ] {
        let mut both = sets(&[V4, V6]);
        both["routes"] = json!([{"dst": "0.0.0.0/0", "priority": 7}, {"dst": "::/0"}]);
        rows.push(row(
            &format!("version {version}"),
            both,
            json!({"cniVersion": version}),
        ));
        let two = sets(&[V4, "10.78.0.0/24"]);
        rows.push(row(
            &format!("two of a family, version {version}"),
            two,
            json!({"cniVersion": version}),
        ));
    }
    rows
}

/// How many plugins lease at once, half of them the reference's.
const AT_ONCE: usize = 24;

#[test]
fn both_lease_from_one_folder_at_once() {
    let data = tempfile::tempdir().unwrap();
    let conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "host-local", "ipam": {
        "type": "host-local", "dataDir": data.path(), "ranges": [[{"subnet": "10.77.0.0/24"}], [{"subnet": V6}]]}});
    let stdin = conf.to_string();
    let call = |number: usize, command: Command| {
        let container_id = format!("c{number}");
        let target = Target {
            container_id: &container_id,
            netns: "/run/netns/none",
            ifname: "eth0",
            args: "",
        };
        let call = Call::new("host-local", command, target, stdin.as_bytes());
        let deadline = Instant::now() + Duration::from_secs(120);
        match number % 2 {
            0 => executables().call(&call, deadline),
            _ => Builtin::before(executables(), Selection::Auto).call(&call, deadline),
        }
    };
    let all_at_once = |command: Command| -> Vec<Vec<u8>> {
        thread::scope(|scope| {
            let call = &call;
            let calls: Vec<_> = (0..AT_ONCE)
                .map(|number| scope.spawn(move || call(number, command).unwrap()))
                .collect();
            calls.into_iter().map(|one| one.join().unwrap()).collect()
        })
    };
    let mut leased = BTreeSet::new();
    for answer in all_at_once(Command::Add) {
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        for ip in answer["ips"].as_array().unwrap() {
            leased.insert(ip["address"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(leased.len(), 2 * AT_ONCE, "{leased:?}");
    all_at_once(Command::Check);
    all_at_once(Command::Del);
    let mut left: Vec<_> = fs::read_dir(data.path().join("net"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["last_reserved_ip.0", "last_reserved_ip.1", "lock"]);
}

#[test]
fn host_local_is_as_the_reference() {
    let rows = [configured(), asked(), leased(), wrong()].concat();
    compare("host-local", 100, rows);
}
