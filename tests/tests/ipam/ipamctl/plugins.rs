//! What other IPAM plugins hold becomes leases: `ipamctl import host-local` and `whereabouts`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::locate;
use serde_json::{Value, json};

use super::{Bench, text};
use crate::plugin::{good, plugin};

/// Has the real host-local lease a pair for a container of network `blue`.
fn host_local(data: &Path, container: &str) {
    let conf = json!({
        "cniVersion": "1.0.0", "name": "blue", "type": "bridge",
        "ipam": {
            "type": "host-local", "dataDir": data,
            "ranges": [[{"subnet": "10.20.0.0/24"}], [{"subnet": "fd00:20::/64"}]]
        }
    });
    let mut child = Command::new(locate::debian_plugins().join("host-local"))
        .env_clear()
        .envs([
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", container),
            ("CNI_NETNS", "/proc/self/ns/net"),
            ("CNI_IFNAME", "net1"),
            ("CNI_PATH", "/"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start host-local");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(conf.to_string().as_bytes())
        .expect("write the configuration");
    drop(stdin);
    let output = child.wait_with_output().expect("wait for host-local");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_the_real_host_local_holds_is_leased_checked_and_given_back_by_meta_ipam() {
    let bench = Bench::with_pool();
    let data = bench.server.folder().join("networks");
    for container in ["c1", "c2", "c3"] {
        host_local(&data, container);
    }
    let folder = data.join("blue").display().to_string();
    let line = format!("import host-local {folder} --pool blue");
    let dry = bench.json(&format!("{line} --dry-run"));
    assert_eq!(dry["imported"], "3", "{dry}");
    assert_eq!(bench.json("lease list"), json!({"leases": []}));
    assert_eq!(bench.json(&line), json!({"imported": "3"}));
    // An attachment that has its lease is the same, whatever else is said of it.
    assert_eq!(bench.json(&line), json!({"unchanged": "3"}));
    assert_eq!(
        bench.json(&format!("{line} --node n1")),
        json!({"unchanged": "3"})
    );
    let leases = bench.json("lease list")["leases"].clone();
    let told: Vec<_> = leases
        .as_array()
        .expect("a list")
        .iter()
        .map(|lease| {
            let owner = &lease["owner"];
            let fields = [
                &lease["ipv4"],
                &lease["ipv6"],
                &owner["containerId"],
                &owner["ifname"],
                &owner["network"],
            ];
            fields.map(|field| text(field).to_owned()).join(" ")
        })
        .collect();
    // host-local begins behind the gateway, which is .1 in both.
    assert_eq!(
        told,
        [
            "10.20.0.2/24 fd00:20::2/64 c1 net1 blue",
            "10.20.0.3/24 fd00:20::3/64 c2 net1 blue",
            "10.20.0.4/24 fd00:20::4/64 c3 net1 blue",
        ]
    );
    let held = json!({"prevResult": {"cniVersion": "1.1.0", "ips": [
        {"address": "10.20.0.3/24"}, {"address": "fd00:20::3/64"}
    ]}});
    good(plugin(&bench.server, "CHECK", "c2", held));
    let next = good(plugin(&bench.server, "ADD", "c4", json!({})));
    assert_eq!(next["ips"][0]["address"], "10.20.0.5/24");
    good(plugin(&bench.server, "DEL", "c2", json!({})));
    bench.fails("whohas 10.20.0.3", 3);
    bench.done("check");
}

#[test]
fn what_of_host_local_fits_nowhere_is_told_and_the_rest_comes() {
    let bench = Bench::with_pool();
    bench.file("net/10.20.0.9", "abc\r\neth0");
    bench.file("net/10.99.0.9", "other\r\neth0");
    bench.file("net/10.20.0.1", "gateway\r\neth0");
    let folder = bench.server.folder().join("net").display().to_string();
    let done = bench.run(&format!("import host-local {folder} --pool blue -o json"));
    assert_eq!(done.code, Some(1), "{done:?}");
    for words in [
        "10.99.0.9 is not in the networks of pool blue",
        "10.20.0.1",
        "2 items are not imported",
    ] {
        assert!(done.err.contains(words), "{words}: {done:?}");
    }
    assert_eq!(
        bench.json("lease list")["leases"].as_array().map(Vec::len),
        Some(1)
    );
    let missing = bench.fails(&format!("import host-local {folder} --pool red"), 3);
    assert!(missing.ends_with("[POOL_NOT_FOUND]\n"), "{missing}");
}

/// An IPPool object as whereabouts writes it.
fn ip_pool(name: &str, range: &str, offset: &str) -> Value {
    json!({
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"range": range, "allocations": {
            offset: {"id": "c1", "podref": "default/web-0", "ifname": "net1"}
        }}
    })
}

#[test]
fn what_whereabouts_holds_becomes_pools_and_leases() {
    let bench = Bench::new();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        ip_pool("10.30.0.0-24", "10.30.0.0/24", "9"), ip_pool("fd00-30---64", "fd00:30::/64", "9"),
    ]});
    let file = bench.file("ippools.yaml", &list.to_string());
    let missing = bench.fails(&format!("import whereabouts {file}"), 2);
    assert!(
        missing.contains("no pool of VRF default contains 10.30.0.0/24"),
        "{missing}"
    );
    let line = format!("import whereabouts {file} --pool-prefix wb-");
    assert_eq!(bench.json(&line), json!({"imported": "2"}));
    assert_eq!(
        bench.json(&line),
        json!({"unchanged": "1"}),
        "the pool is there now"
    );
    let leases = bench.json("lease list")["leases"].clone();
    assert_eq!(leases.as_array().map(Vec::len), Some(1), "{leases}");
    let lease = &leases[0];
    assert_eq!(
        [
            text(&lease["ipv4"]),
            text(&lease["ipv6"]),
            text(&lease["owner"]["pod"])
        ],
        ["10.30.0.9/24", "fd00:30::9/64", "web-0"]
    );
    assert!(bench.done("whohas fd00:30::9").contains("default/web-0"));
}
