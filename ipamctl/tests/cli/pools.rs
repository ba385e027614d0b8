//! Commands of pools and reservations.

use serde_json::{Value, json};

use crate::harness::{Bench, json};

#[test]
fn pools_are_made_shown_changed_and_deleted() {
    let bench = Bench::new();
    let made = bench.done("pool create blue --ipv4-cidr 10.20.0.0/24 --ipv4-gateway 10.20.0.1 --quarantine-seconds 60 --label team=ran");
    assert!(made.starts_with("NAME   STATE    IPV4"), "{made}");
    let pool = bench.json("pool get blue");
    assert_eq!(
        (&pool["quarantine"], &pool["ipv4"]["gateway"]),
        (&json!("60s"), &json!("10.20.0.1"))
    );
    bench.done("pool edit blue --ipv4-gateway 10.20.0.2 --label team-");
    let mut expected = pool;
    expected["ipv4"]["gateway"] = json!("10.20.0.2");
    assert_eq!(
        what_was_set(expected, &["labels"]),
        what_was_set(bench.json("pool get blue"), &[])
    );
    assert!(bench.done("pool cordon blue").contains("CORDONED"));
    assert!(bench.done("pool cordon --undo blue").contains("ACTIVE"));
    assert_eq!(bench.json("pool list")["pools"][0]["name"], "blue");
    let yaml = bench.done("pool list -o yaml");
    assert!(yaml.starts_with("pools:\n- name: blue\n"), "{yaml}");
    bench.done("pool delete blue --yes");
    assert_eq!(bench.run("pool list").err, "no pools found\n");
}

/// A pool without what the server sets, and without these fields.
fn what_was_set(mut pool: Value, without: &[&str]) -> Value {
    let fields = pool.as_object_mut().expect("a pool is an object");
    let of_server = ["createTime", "updateTime", "etag", "uid"];
    for name in of_server.iter().chain(without) {
        fields.shift_remove(*name);
    }
    pool
}

#[test]
fn a_pool_is_made_with_the_short_names_as_with_the_long_ones() {
    let bench = Bench::new();
    bench.done("pool create short --vrf a --ipv4 10.20.0.0/24 --ipv6 fd00:20::/64");
    bench.done("pool create long --vrf b --ipv4-cidr 10.20.0.0/24 --ipv6-cidr fd00:20::/64");
    let cidrs = |name: &str| {
        let pool = bench.json(&format!("pool get {name}"));
        ["ipv4", "ipv6"].map(|family| pool[family]["cidr"].clone())
    };
    assert_eq!(cidrs("short"), ["10.20.0.0/24", "fd00:20::/64"]);
    assert_eq!(cidrs("short"), cidrs("long"));
}

#[test]
fn pools_come_from_a_file_or_stdin() {
    let bench = Bench::new();
    let text =
        "pools:\n- name: a\n  ipv4: {cidr: 10.0.0.0/24}\n- name: b\n  ipv6: {cidr: 'fd00::/64'}\n";
    let dry = bench.run_with("pool create -f - --dry-run -o json", text, &[]);
    let made = json(&dry.out)["pools"].as_array().map(Vec::len);
    assert_eq!(made, Some(2), "{dry:?}");
    assert_eq!(bench.run("pool list").err, "no pools found\n");
    let file = bench.file("pools.yaml", text);
    bench.done(&format!("pool create -f {file}"));
    assert_eq!(bench.done("pool list").lines().count(), 3);
    let wrong = bench.file("wrong.yaml", "pools:\n- nmae: a\n");
    let error = bench.fails(&format!("pool create -f {wrong}"), 1);
    assert!(
        error.contains("wrong.yaml:2: pool 1: nmae: ") && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn a_pool_is_edited_in_an_editor_and_guarded_by_its_etag() {
    let bench = Bench::with_lease();
    let edit = |script: &str| {
        let editor = bench.file("editor.sh", script);
        let editor = format!("sh {editor}");
        bench.run_with("pool edit blue", "", &[("VISUAL", ""), ("EDITOR", &editor)])
    };
    let same = edit("true");
    assert_eq!(
        (same.code, same.err.as_str()),
        (Some(0), "pool blue is not changed\n")
    );
    let done = edit("echo 'quarantine: 30s' >> \"$1\"");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(bench.json("pool get blue")["quarantine"], "30s");
    let failed = edit("exit 3");
    let expected = "ended with exit status: 3; nothing was changed";
    assert!(failed.err.contains(expected), "{failed:?}");
    let ipamctl = env!("CARGO_BIN_EXE_ipamctl");
    let raced = edit(&format!(
        "{ipamctl} pool edit blue --strategy lowest && echo 'maxTtl: 9s' >> \"$1\""
    ));
    assert!(raced.err.ends_with("[STALE_GENERATION]\n"), "{raced:?}");
}

#[test]
fn reservations_are_made_shown_and_deleted() {
    let bench = Bench::with_lease();
    bench.done("reservation create db-0 --pool blue --ipv4 10.20.0.50 --pod prod/db-0");
    assert!(bench.done("reservation list").contains("prod/db-0"));
    let reservation = bench.json("reservation get db-0");
    assert_eq!(reservation["identity"]["pod"], "db-0");
    bench.done("reservation delete db-0 --yes");
    let error = bench.fails("reservation get db-0", 3);
    assert!(error.ends_with("[RESERVATION_NOT_FOUND]\n"), "{error}");
}
