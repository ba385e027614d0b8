//! `tuning`: every key at least twice, in the configuration and by the caller, and values that are wrong.

use serde_json::{Value, json};

use super::bridge::host_local;
use super::row::Row;
use super::run::compare;

const UNDONE: &str = "an ADD that fails sets back what it set; the reference leaves it";
const FILE: &str =
    "the file of an interface that is gone is removed; the reference leaves it forever";
const SPELLING: &str = "CHECK compares hardware addresses, not how they are written";

/// Behind a bridge, with the keys of `more`.
fn row(name: &str, more: Value) -> Row {
    let mut row = alone(name, more);
    let ipam = host_local(&["10.77.0.0/24", "fd00:77::/64"]);
    let mac = json!({"mac": "02:00:00:00:00:20"});
    row = row.after(json!({"type": "bridge", "bridge": "br7", "ipam": ipam, "runtimeConfig": mac}));
    row
}

/// The same with a file of the former settings.
fn with_file(name: &str, more: Value) -> Row {
    row(name, more).differs("DEL of what is gone", FILE)
}

fn alone(name: &str, more: Value) -> Row {
    let mut row = Row::new(name, json!({"type": "tuning", "dataDir": "{data}/tuning"}));
    for (key, value) in more.as_object().unwrap() {
        row.conf[key] = value.clone();
    }
    row
}

fn configured() -> Vec<Row> {
    let sysctl = |name: &str, sysctl: Value| row(name, json!({"sysctl": sysctl}));
    vec![
        row("nothing", json!({})),
        sysctl("a setting", json!({"net.ipv4.conf.all.log_martians": "1"})),
        sysctl(
            "settings of the interface",
            json!({"net.ipv4.conf.IFNAME.arp_filter": "1", "net/ipv6/conf/IFNAME/accept_ra": "0"}),
        ),
        sysctl(
            "a setting of several words",
            json!({"net.ipv4.ping_group_range": "0\t100"}),
        ),
        sysctl(
            "a setting of several words with spaces",
            json!({"net.ipv4.ping_group_range": "0 100"}),
        )
        .differs(
            "CHECK",
            "CHECK compares words; the reference tells tabs from spaces",
        )
        .differs("CHECK after DEL", "CHECK compares words"),
        sysctl("no settings", json!({})),
        with_file("a hardware address", json!({"mac": "02:00:00:00:00:21"})),
        with_file(
            "a hardware address in capitals",
            json!({"mac": "02:00:00:00:00:AB"}),
        )
        .differs("CHECK", SPELLING)
        .differs("CHECK after DEL", SPELLING),
        with_file(
            "a hardware address with dashes",
            json!({"mac": "02-00-00-00-00-22"}),
        )
        .differs("CHECK", SPELLING)
        .differs("CHECK after DEL", SPELLING),
        with_file("an MTU", json!({"mtu": 1400})),
        with_file("the smallest MTU", json!({"mtu": 68})),
        row("no MTU", json!({"mtu": 0})),
        with_file("promiscuous", json!({"promisc": true})),
        row("not promiscuous", json!({"promisc": false})),
        with_file("all multicast", json!({"allmulti": true})),
        with_file("not all multicast", json!({"allmulti": false})),
        with_file("a transmit queue", json!({"txQLen": 500})),
        with_file("no transmit queue", json!({"txQLen": 0})),
        with_file(
            "everything",
            json!({"mac": "02:00:00:00:00:23", "mtu": 1300, "promisc": true, "allmulti": true, "txQLen": 77, "sysctl": {"net.ipv4.conf.IFNAME.rp_filter": "2"}}),
        ),
        with_file(
            "a folder below",
            json!({"dataDir": "{data}/a/b", "mtu": 1400}),
        ),
        with_file("a file of an earlier attachment", json!({"mtu": 1400}))
            .file("tuning/c0ffee_eth0.json", "{\n \"mtu\": 1200\n}"),
        row(
            "a file of an earlier attachment, and nothing to set",
            json!({}),
        )
        .file("tuning/c0ffee_eth0.json", "{\n \"mtu\": 1200\n}"),
        with_file(
            "keys in capitals",
            json!({"MTU": 1400, "TXQLEN": 9, "SysCtl": {"net.ipv4.conf.all.log_martians": "1"}}),
        ),
        with_file(
            "null for absent",
            json!({"mac": null, "allmulti": null, "mtu": 1400}),
        ),
        row(
            "a key that nobody knows",
            json!({"futureKey": 1, "mtu": 1400}),
        ),
    ]
}

fn asked() -> Vec<Row> {
    let args = |name: &str, args: Value| with_file(name, json!({"args": {"cni": args}}));
    vec![
        with_file(
            "a hardware address of the runtime",
            json!({"runtimeConfig": {"mac": "02:00:00:00:00:24"}}),
        ),
        with_file(
            "the runtime's hardware address wins",
            json!({"mac": "02:00:00:00:00:25", "runtimeConfig": {"mac": "02:00:00:00:00:24"}}),
        )
        .args("MAC=02:00:00:00:00:26"),
        with_file(
            "no hardware address of the runtime",
            json!({"mac": "02:00:00:00:00:25", "runtimeConfig": {"mac": ""}}),
        ),
        with_file("a hardware address of CNI_ARGS", json!({}))
            .args("IgnoreUnknown=1;MAC=02:00:00:00:00:26"),
        row("an empty hardware address of CNI_ARGS", json!({})).args("MAC="),
        args(
            "a hardware address of args",
            json!({"mac": "02:00:00:00:00:27"}),
        ),
        with_file(
            "args win",
            json!({"mac": "02:00:00:00:00:25", "mtu": 1400, "runtimeConfig": {"mac": "02:00:00:00:00:24"}, "args": {"cni": {"mac": "02:00:00:00:00:27", "mtu": 1300}}}),
        ),
        row(
            "args switch off",
            json!({"mac": "02:00:00:00:00:25", "mtu": 1400, "promisc": true, "args": {"cni": {"mac": "", "mtu": 0, "promisc": false}}}),
        ),
        args(
            "everything of args",
            json!({"mtu": 1300, "promisc": true, "allmulti": true, "txQLen": 77}),
        ),
        row(
            "settings of args beside others",
            json!({"sysctl": {"net.ipv4.conf.all.log_martians": "1", "net.ipv4.conf.IFNAME.arp_filter": "1"}, "args": {"cni": {"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "0", "net.ipv4.conf.IFNAME.arp_notify": "1"}}}}),
        ),
        row(
            "args of others",
            json!({"args": {"cni": {"ips": ["10.77.0.9"]}, "other": 1}}),
        ),
        row("a pair of CNI_ARGS that nobody knows", json!({}))
            .args("FOO=bar")
            .differs(
                "*",
                "pairs of CNI_ARGS that nobody knows are ignored, with and without IgnoreUnknown",
            ),
    ]
}

fn wrong() -> Vec<Row> {
    let sysctl = |name: &str, sysctl: Value| row(name, json!({"sysctl": sysctl}));
    let early = "what cannot be set is refused before anything is set";
    let prev = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0"}]});
    let mut rows = vec![
        alone("no result before", json!({"mtu": 1400})),
        alone("a result before that is none", json!({"mtu": 1400, "prevResult": {"ips": 1}})),
        alone("no interface", json!({"mtu": 1400, "prevResult": prev})),
        alone(
            "no interface for settings and an MTU",
            json!({"mtu": 1400, "sysctl": {"net.ipv4.conf.all.log_martians": "1"}, "prevResult": prev}),
        )
        .differs("ADD", UNDONE)
        .differs("DEL", UNDONE)
        .differs("DEL again", UNDONE)
        .differs("GC", UNDONE),
        sysctl("a setting of another kind", json!({"kernel.domainname": "x"})),
        sysctl("a setting that does not exist", json!({"net.ipv4.nonsense": "1"})),
        sysctl("a value that the kernel refuses", json!({"net.ipv4.conf.all.log_martians": "nonsense"})),
        sysctl("a number for a value", json!({"net.ipv4.conf.all.log_martians": 1})),
        row("settings that are none", json!({"sysctl": "x"})),
        with_file("no hardware address", json!({"mac": "nonsense"})).differs("ADD", early),
        with_file("a hardware address of many hosts", json!({"mac": "03:00:00:00:00:01"})).differs("ADD", UNDONE),
        with_file("an MTU that is too small", json!({"mtu": 60})).differs("ADD", UNDONE),
        with_file("an MTU that is too large", json!({"mtu": 70000, "promisc": true})).differs("GC", UNDONE).differs("ADD", UNDONE),
        with_file("an MTU below 0", json!({"mtu": -5})).differs("ADD", early),
        row("a transmit queue below 0", json!({"txQLen": -1}))
            .differs("*", "a length below 0 is refused; the reference sets 4294967295, and its CHECK fails"),
        row("a text for an MTU", json!({"mtu": "1400"})),
        row("a text for a switch", json!({"promisc": "true"})),
        row("a folder that is a file", json!({"dataDir": "{data}/file", "mtu": 1400})).file("file", ""),
        row("no name", json!({"name": ""})),
        row("an unknown version", json!({"cniVersion": "9.9.9"})),
    ];
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let mut row = with_file(
            &format!("version {version}"),
            json!({"cniVersion": version, "mac": "02:00:00:00:00:28", "mtu": 1400}),
        );
        if let Some(before) = &mut row.after {
            before["cniVersion"] = json!(version);
        }
        rows.push(row);
    }
    rows
}

#[test]
fn tuning_is_as_the_reference() {
    compare("tuning", 55, [configured(), asked(), wrong()].concat());
}
