//! `ipamctl export` and `ipamctl import`: everything comes back.

use std::fs;

use serde_json::{Value, json};

use super::{Bench, json};

/// A server with something of everything.
fn rich() -> Bench {
    let bench = Bench::with_pool();
    bench.done("pool create rest --ipv4-cidr 10.30.0.0/24 --quarantine-seconds 3600 --label a=b");
    bench.done("pool create six --ipv6-cidr fd00:6::/120 --strategy lowest");
    bench.done("pool create shut --ipv4-cidr 10.40.0.0/24");
    bench.done("pool cordon shut");
    bench.done("reservation create db-0 --pool rest --ipv4 10.30.0.50 --pod prod/db-0");
    bench.lease("web-0");
    bench.done("lease allocate --pool rest --pod prod/db-0");
    bench.done("lease allocate --pool six --claim vm-7 --mac 02:00:00:00:00:07 --ttl-seconds 86400 --label x=y");
    bench.done("lease allocate --pool rest --request-id r1 --network net --container-id c1 --ifname eth0 --ip 10.30.0.9");
    let rests = bench.json("lease allocate --pool rest --claim gone --ip 10.30.0.7");
    let id = rests["lease"]["id"].as_str().expect("an id").to_owned();
    bench.done(&format!("lease release {id} --yes"));
    bench
}

/// The items of an export, without what belongs to the server and not to the content.
fn content(export: &str) -> Vec<Value> {
    let mut items: Vec<Value> = export.lines().map(json).collect();
    let header = items.remove(0);
    assert_eq!(header["header"]["format"], 1);
    for item in &mut items {
        if let Some(pool) = item["pool"].as_object_mut() {
            for field in ["etag", "createTime", "updateTime"] {
                assert!(pool.remove(field).is_some(), "{field}");
            }
        }
        if let Some(reservation) = item["reservation"].as_object_mut() {
            reservation.remove("createTime");
        }
    }
    items.sort_by_key(Value::to_string);
    items
}

fn counts(shown: &Value) -> [u64; 3] {
    ["imported", "unchanged", "conflicts"].map(|field| {
        let number = shown[field].as_str().unwrap_or("0");
        number.parse().expect("a number")
    })
}

#[test]
fn an_export_is_the_same_again_after_its_import_into_an_empty_server() {
    let bench = rich();
    let file = bench
        .server
        .folder()
        .join("all.jsonl")
        .display()
        .to_string();
    bench.done(&format!("export -f {file}"));
    let export = fs::read_to_string(&file).expect("read the export");
    assert_eq!(content(&bench.done("export")), content(&export));
    let items = export.lines().count() as u64 - 1;

    let other = Bench::new();
    let shown = other.json(&format!("import {file} --dry-run"));
    assert_eq!(counts(&shown)[2], 0, "{shown}");
    assert_eq!(other.json("pool list"), json!({"pools": []}));
    assert_eq!(
        counts(&other.json(&format!("import {file}"))),
        [items, 0, 0]
    );
    assert_eq!(content(&other.done("export")), content(&export));
    assert_eq!(
        counts(&other.json(&format!("import {file}"))),
        [0, items, 0]
    );
    assert_eq!(content(&other.done("export")), content(&export));
    let usage = |bench: &Bench| {
        let pools = bench.json("pool list")["pools"].clone();
        let pools = pools.as_array().expect("a list").clone();
        let pool = |pool: &Value| {
            ["name", "state", "ipv4Usage", "ipv6Usage"].map(|field| pool[field].clone())
        };
        pools.iter().map(pool).collect::<Vec<_>>()
    };
    assert_eq!(usage(&other), usage(&bench));
    other.done("check");

    // What it promises goes on: requests, attachments and reservations find their leases.
    let again = other.run("lease allocate --pool rest --request-id r1 --network net --container-id c1 --ifname eth0 --ip 10.30.0.9");
    assert_eq!(
        (again.code, again.err.as_str()),
        (Some(0), "the lease existed before\n")
    );
    let kept = other.fails("lease allocate --pool rest --claim x --ip 10.30.0.50", 1);
    assert!(kept.ends_with("[ADDRESS_RESERVED]\n"), "{kept}");
    let rests = other.fails("lease allocate --pool rest --claim x --ip 10.30.0.7", 1);
    assert!(rests.ends_with("[ADDRESS_QUARANTINED]\n"), "{rests}");
    let next = other.json("lease allocate --pool rest --claim x");
    let holder = bench.run(&format!(
        "whohas {}",
        next["lease"]["ipv4"]
            .as_str()
            .expect("an address")
            .replace("/24", "")
    ));
    assert_eq!(
        holder.code,
        Some(3),
        "nobody has it in the first server: {holder:?}"
    );
}

#[test]
fn what_contradicts_an_import_is_reported_and_the_rest_is_imported() {
    let bench = rich();
    let file = bench
        .server
        .folder()
        .join("all.jsonl")
        .display()
        .to_string();
    bench.done(&format!("export -f {file}"));
    let other = Bench::new();
    other.done("pool create rest --ipv4-cidr 10.30.0.0/24");
    other.done("pool create blue --ipv4-cidr 10.20.0.0/24 --ipv4-gateway 10.20.0.1 --ipv6-cidr fd00:20::/64");
    other.done("lease allocate --pool blue --claim mine --ip 10.20.0.2");
    let done = other.run(&format!("import {file} -o json"));
    assert_eq!(done.code, Some(1), "{done:?}");
    let shown = json(&done.out);
    // The pool `rest` has another quarantine, and web-0's address is taken.
    assert_eq!(counts(&shown), [7, 1, 2], "{shown}");
    for words in [
        "pool rest exists already",
        "10.20.0.2 of pool blue is held by",
        "2 items are not imported",
    ] {
        assert!(done.err.contains(words), "{words}: {done:?}");
    }
    other.done("check");
}

#[test]
fn a_store_without_a_server_is_exported_too() {
    let mut bench = rich();
    let export = bench.done("export");
    let store = bench.server.store().display().to_string();
    let locked = bench.fails(&format!("export --offline {store}"), 1);
    assert!(locked.contains("in use by another process"), "{locked}");
    bench.server.kill9();
    let saved = bench.run(&format!("export --offline {store}"));
    assert_eq!(
        (saved.code, saved.err.as_str()),
        (Some(0), "10 items were saved\n")
    );
    let other = Bench::new();
    let file = other.file("saved.jsonl", &saved.out);
    other.done(&format!("import {file}"));
    assert_eq!(content(&other.done("export")), content(&export));
}
