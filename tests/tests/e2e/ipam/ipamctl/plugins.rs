//! What the real host-local holds becomes leases, and ends with it: `ipamctl import host-local`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::locate;
use serde_json::json;

use super::{Bench, json, text};
use crate::ipam::plugin::{good, plugin};

/// Executes the real host-local, which leases pairs, for a container of network `blue`.
fn host_local(data: &Path, command: &str, container: &str) {
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
            ("CNI_COMMAND", command),
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
        host_local(&data, "ADD", container);
    }
    let folder = data.join("blue").display().to_string();
    let line = format!("import host-local {folder} --pool blue");
    let dry = bench.json(&format!("{line} --dry-run"));
    assert_eq!(dry["imported"], "3", "{dry}");
    assert_eq!(bench.json("lease list"), json!({"leases": []}));
    assert_eq!(bench.json(&line), json!({"imported": "3"}));
    // An attachment that has its lease is the same, and knows afterwards what else is said of it.
    assert_eq!(bench.json(&line), json!({"unchanged": "3"}));
    let with_node = format!("{line} --node n1");
    assert_eq!(bench.json(&with_node), json!({"imported": "3"}));
    assert_eq!(bench.json(&with_node), json!({"unchanged": "3"}));
    let leases = bench.json("lease list")["leases"].clone();
    let shown: Vec<_> = leases
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
        shown,
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
fn what_of_host_local_fits_nowhere_is_reported_and_the_rest_is_imported() {
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

#[test]
fn an_import_that_is_repeated_ends_what_host_local_has_no_more_and_nothing_else() {
    let bench = Bench::with_pool();
    bench.done("pool edit blue --quarantine-seconds 3600");
    let data = bench.server.folder().join("networks");
    for container in ["c1", "c2", "c3"] {
        host_local(&data, "ADD", container);
    }
    let folder = data.join("blue").display().to_string();
    let line = format!("import host-local {folder} --pool blue --node n1");
    assert_eq!(bench.json(&line), json!({"imported": "3"}));
    let id = |address: &str| {
        let shown = bench.json(&format!("whohas {address}"));
        text(&shown["leases"][0]["id"]).to_owned()
    };
    // Leases that are none of its business: another node's, one that somebody asked for, one that was renewed.
    bench.file("other/10.20.0.90", "c9\r\nnet1");
    let other = bench.server.folder().join("other").display().to_string();
    let of_other = "--pool blue --network blue --node n2";
    bench.done(&format!("import host-local {other} {of_other}"));
    bench.lease("web-0");
    bench.done(&format!(
        "lease renew {} --ttl-seconds 6000",
        id("10.20.0.4")
    ));
    for container in ["c1", "c3"] {
        host_local(&data, "DEL", container);
    }
    // A file that cannot be read shows neither that its address is held nor that it is free.
    std::fs::write(data.join("blue/10.20.0.3"), "").expect("emptied");
    let dry = bench.run(&format!("{line} --dry-run -o json"));
    assert_eq!(json(&dry.out)["released"], "1", "{dry:?}");
    assert!(bench.done("whohas 10.20.0.2").contains("c1"));
    let done = bench.run(&format!("{line} -o json"));
    assert_eq!(done.code, Some(1), "{done:?}");
    let shown = json(&done.out);
    assert_eq!(
        (&shown["released"], &shown["conflicts"]),
        (&json!("1"), &json!("1")),
        "{shown}"
    );
    for words in ["10.20.0.3: it names no container", "was renewed: it stays"] {
        assert!(done.err.contains(words), "{words}: {done:?}");
    }
    let active = bench.json("lease list --state active");
    assert_eq!(
        active["leases"].as_array().map(Vec::len),
        Some(4),
        "{active}"
    );
    // Its address rests, but host-local has given it to the next one.
    std::fs::write(data.join("blue/10.20.0.2"), "c4\r\nnet1").expect("written");
    std::fs::write(data.join("blue/10.20.0.3"), "c2\r\nnet1").expect("written");
    assert_eq!(
        bench.json(&line),
        json!({"imported": "1", "unchanged": "1"})
    );
    assert!(bench.done("whohas 10.20.0.2").contains("c4"));
    bench.done("check");
}

#[test]
fn a_folder_that_is_not_host_locals_ends_nothing() {
    let bench = Bench::with_pool();
    bench.file("networks/blue/10.20.0.9", "c1\r\nnet1");
    let folder = bench.server.folder().join("networks");
    let line = |folder: &Path| {
        let folder = folder.display();
        format!("import host-local {folder} --pool blue --network blue --node n1")
    };
    bench.done(&line(&folder.join("blue")));
    let refused = bench.fails(&line(&folder), 1);
    assert!(refused.contains("no file of host-local"), "{refused}");
    assert!(bench.done("whohas 10.20.0.9").contains("c1"));
}
