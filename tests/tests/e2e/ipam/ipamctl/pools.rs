//! `ipamctl pool`.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{Bench, Done, text};

#[test]
fn a_pool_is_made_shown_changed_cordoned_and_deleted() {
    let bench = Bench::new();
    let words = "--ipv4-cidr 10.20.0.0/24 --ipv4-gateway 10.20.0.1 --ipv4-range 10.20.0.10-10.20.0.19 \
                 --ipv4-route 0.0.0.0/0 --ipv6-cidr fd00:20::/64 --dns-server 10.20.0.53 --label team=ran";
    bench.done(&format!("pool create blue {words} --dry-run"));
    assert_eq!(bench.json("pool list"), json!({"pools": []}));
    bench.done(&format!("pool create blue {words} --quarantine-seconds 60"));
    let pool = bench.json("pool get blue");
    for (path, value) in [
        ("/ipv4/gateway", json!("10.20.0.1")),
        ("/ipv4/ranges", json!(["10.20.0.10-10.20.0.19"])),
        ("/quarantine", json!("60s")),
        ("/labels/team", json!("ran")),
        ("/dns/nameservers", json!(["10.20.0.53"])),
        ("/ipv4Usage/free", json!("10")),
    ] {
        assert_eq!(pool.pointer(path), Some(&value), "{path} of {pool}");
    }
    let table = bench.done("pool list");
    assert!(
        table.starts_with("NAME   STATE    IPV4") && table.contains("\nblue   ACTIVE"),
        "{table}"
    );

    bench.done("pool edit blue --ipv4-range 10.20.0.10-10.20.0.29 --label team- --strategy lowest");
    let edited = bench.json("pool get blue");
    assert_eq!(edited["ipv4Usage"]["free"], "20");
    assert_eq!(
        (&edited["labels"], &edited["strategy"]),
        (&Value::Null, &json!("LOWEST"))
    );
    assert_ne!(edited["etag"], pool["etag"]);

    assert!(bench.done("pool cordon blue").contains("CORDONED"));
    let refused = bench.fails("lease allocate --pool blue --claim x", 1);
    assert!(refused.ends_with("[POOL_NOT_ACTIVE]\n"), "{refused}");
    assert!(bench.done("pool cordon --undo blue").contains("ACTIVE"));
    let given = bench.json("lease allocate --pool blue --claim x");
    bench.done(&format!(
        "lease release {} --yes",
        text(&given["lease"]["id"])
    ));
    let resting = bench.json("pool get blue");
    assert_eq!(resting["ipv4Usage"]["quarantined"], "1");
    bench.done("pool delete blue --yes");
    let none = bench.run("pool list");
    assert_eq!(
        (none.code, none.err.as_str()),
        (Some(0), "no pools found\n")
    );
    // What rested rests on, for a pool that is made anew.
    let left = bench.json("lease list");
    assert_eq!(left["leases"][0]["state"], "QUARANTINED", "{left}");
    assert_eq!(left["leases"][0]["pool"], "blue");
}

#[test]
fn pools_come_from_a_file_all_that_is_right_of_it() {
    let bench = Bench::new();
    let good = bench.file(
        "pools.yaml",
        "pools:\n- name: a\n  ipv4: {cidr: 10.0.0.0/24}\n- name: b\n  ipv6: {cidr: 'fd00::/64'}\n",
    );
    bench.done(&format!("pool create -f {good}"));
    let names: Vec<Value> = bench.json("pool list")["pools"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|pool| pool["name"].clone())
        .collect();
    assert_eq!(names, ["a", "b"]);
    bench.done(&format!("pool create -f {good}"));
    let other = bench.file(
        "other.yaml",
        "pools:\n- name: a\n  ipv4: {cidr: 10.0.0.0/25}\n",
    );
    let exists = bench.fails(&format!("pool create -f {other}"), 1);
    assert!(exists.ends_with("[POOL_EXISTS]\n"), "{exists}");
    let wrong = bench.file(
        "wrong.yaml",
        "pools:\n- name: c\n  ipv4: {cidr: 10.9.0.1/24}\n",
    );
    let error = bench.fails(&format!("pool create -f {wrong}"), 2);
    assert!(error.contains("pool.ipv4.cidr"), "{error}");
}

#[test]
fn a_pool_is_edited_in_an_editor_and_what_somebody_else_changed_meanwhile_is_kept() {
    let bench = Bench::with_pool();
    let edit = |script: &str| -> Done {
        let editor = bench.file("editor.sh", script);
        let mut command: Command = bench.server.ipamctl_command(&["pool", "edit", "blue"]);
        command
            .env("VISUAL", "")
            .env("EDITOR", format!("sh {editor}"));
        command.output().expect("run ipamctl").into()
    };
    let done = edit("echo 'quarantine: 30s' >> \"$1\"");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(bench.json("pool get blue")["quarantine"], "30s");
    let words: Vec<String> = {
        let command = bench.server.ipamctl_command(&["pool", "cordon", "blue"]);
        let program = command.get_program().to_owned();
        std::iter::once(program.as_os_str())
            .chain(command.get_args())
            .map(|word| word.to_str().expect("UTF-8").to_owned())
            .collect()
    };
    let raced = edit(&format!(
        "{} && echo 'maxTtl: 9s' >> \"$1\"",
        words.join(" ")
    ));
    assert_eq!(raced.code, Some(1), "{raced:?}");
    assert!(raced.err.ends_with("[STALE_GENERATION]\n"), "{raced:?}");
    let pool = bench.json("pool get blue");
    assert_eq!(
        (text(&pool["state"]), &pool["maxTtl"]),
        ("CORDONED", &Value::Null)
    );
}

#[test]
fn a_pool_of_a_file_that_the_server_refuses_is_named_with_its_line_and_those_before_it_exist() {
    let bench = Bench::new();
    let file = bench.server.folder().join("pools.yaml");
    let text = "pools:\n- name: blue\n  ipv4: {cidr: 10.0.0.0/24}\n- name: green\n  ipv4:\n    gateway: 10.9.0.1\n    cidr: 10.1.0.0/24\n";
    fs::write(&file, text).expect("write the pools");
    let done = bench.run(&format!("pool create -f {}", file.display()));
    assert_eq!(done.code, Some(2), "{done:?}");
    let place = format!(
        "error: {}:6: pool green: pool.ipv4.gateway: ",
        file.display()
    );
    assert!(done.err.starts_with(&place), "{done:?}");
    assert!(done.out.contains("blue"), "{done:?}");
    assert_eq!(bench.run("pool get blue").code, Some(0));
    assert_eq!(bench.run("pool get green").code, Some(3));
    let dry = bench.run("pool create green --ipv4 10.1.0.0/24 --dry-run");
    assert!(
        dry.err.contains("nothing was changed (--dry-run)"),
        "{dry:?}"
    );
    assert_eq!(bench.run("pool get green").code, Some(3));
}
