//! Who holds an address and who held it: `whohas`, `history`, `explain`, `check`, `server`.

use std::time::Duration;

use e2e::wait_until;
use serde_json::{Value, json};

use super::{Bench, text};

/// Waits until a later change has a later time: the history counts in milliseconds.
fn let_time_pass(bench: &Bench) {
    let last = |bench: &Bench| {
        let made = bench.json("lease allocate --pool blue --claim clock --dry-run");
        text(&made["lease"]["createTime"]).to_owned()
    };
    let now = last(bench);
    wait_until("the clock goes on", Duration::from_secs(60), || {
        (last(bench) > now).then_some(())
    });
}

#[test]
fn whohas_shows_the_holder_of_an_address_now_and_at_any_time_of_the_history() {
    let bench = Bench::with_pool();
    let_time_pass(&bench);
    let first = bench.lease("web-0");
    let_time_pass(&bench);
    bench.done(&format!("lease release {} --yes", text(&first["id"])));
    let_time_pass(&bench);
    let second = bench.json("lease allocate --pool blue --pod default/web-1 --ip 10.20.0.2");
    let second = second["lease"].clone();
    let events = bench.json("history 10.20.0.2")["events"].clone();
    let events = events.as_array().expect("a list");
    let types: Vec<_> = events.iter().map(|event| text(&event["type"])).collect();
    assert_eq!(types, ["CREATED", "RELEASED", "CREATED"]);
    assert_eq!(
        events[1]["actor"],
        format!("operator/uid:{}", nix::unistd::getuid())
    );
    let times: Vec<_> = events.iter().map(|event| text(&event["time"])).collect();
    assert_eq!(times[0], text(&first["createTime"]));

    let holder = |at: &str| {
        let found = bench.json(&format!("whohas 10.20.0.2 --at {at}"))["leases"].clone();
        let found = found.as_array().expect("a list").clone();
        assert_eq!(found.len(), 1, "at {at}: {found:?}");
        text(&found[0]["owner"]["pod"]).to_owned()
    };
    assert_eq!(holder(times[0]), "web-0");
    assert_eq!(holder(times[2]), "web-1");
    assert_eq!(holder("now"), "web-1");
    let nobody = bench.fails(&format!("whohas 10.20.0.2 --at {}", times[1]), 3);
    assert!(
        nobody.starts_with("error: nobody held 10.20.0.2 at "),
        "{nobody}"
    );
    let before = bench.json("history --limit 4")["events"][3]["time"].clone();
    bench.fails(&format!("whohas 10.20.0.2 --at {}", text(&before)), 3);

    let six = text(&second["ipv6"])
        .split('/')
        .next()
        .expect("an address")
        .to_owned();
    assert!(
        bench
            .done(&format!("whohas {six}"))
            .contains("default/web-1")
    );
    let table = bench.done("history --pod default/web-0 -o wide");
    assert!(
        table.contains("operator/uid:") && table.lines().count() == 3,
        "{table}"
    );
    let since = bench.json(&format!("history --since {}", times[1]));
    assert_eq!(since["events"].as_array().map(Vec::len), Some(2), "{since}");
    let until = bench.json(&format!("history --until {}", times[1]));
    assert_eq!(until["events"].as_array().map(Vec::len), Some(2), "{until}");
}

#[test]
fn an_explanation_is_what_happens_then() {
    let bench = Bench::new();
    bench.done("pool create blue --ipv4-cidr 10.20.0.0/30 --ipv6-cidr fd00:20::/64");
    bench.done("pool create over --ipv4-cidr 10.21.0.0/30 --ipv6-cidr fd00:21::/64");
    bench.done("pool cordon blue");
    let shown = bench.done("explain --pool blue --pool over --pod default/web-0");
    assert!(shown.contains("blue   POOL_NOT_ACTIVE"), "{shown}");
    assert!(
        shown.ends_with("would allocate 10.21.0.1/30 fd00:21::1/64 of pool over\n"),
        "{shown}"
    );
    let given = bench.json("lease allocate --pool blue --pool over --pod default/web-0");
    assert_eq!(given["lease"]["ipv4"], "10.21.0.1/30");
    bench.done("lease allocate --pool over --claim x");
    let done = bench.run("explain --pool over --claim y");
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.out.contains("over   POOL_EXHAUSTED"), "{done:?}");
    assert_eq!(done.err, "error: nothing would be allocated\n");
    let done = bench.run("explain 10.21.0.3");
    assert!(
        done.out.contains("ADDRESS_RESERVED") && done.out.contains("broadcast"),
        "{done:?}"
    );
    let done = bench.run("explain 10.21.0.1");
    assert!(
        done.out.contains("ADDRESS_IN_USE") && done.out.contains("pod default/web-0"),
        "{done:?}"
    );
    assert_eq!(
        bench.json("server")["revision"],
        "5",
        "explaining changes nothing"
    );
}

#[test]
fn check_and_server_show_the_state_of_the_server() {
    let bench = Bench::with_pool();
    bench.lease("web-0");
    assert_eq!(bench.done("check"), "1 leases of 1 pools: all is well\n");
    assert_eq!(bench.json("check"), json!({"leases": "1", "pools": "1"}));
    let server = bench.json("server");
    let field = |name: &str| server.get(name).cloned().unwrap_or(Value::Null);
    assert_eq!(
        [
            field("store"),
            field("writable"),
            field("revision"),
            field("oldestRevision"),
            field("leases")
        ],
        [
            json!("sled"),
            json!(true),
            json!("2"),
            json!("1"),
            json!("1")
        ]
    );
}

#[test]
fn a_history_that_is_no_longer_kept_is_an_error_and_not_guessed() {
    let bench = Bench {
        server: e2e::IpamServer::start_with(&["--history-events=10"]),
    };
    bench.done("pool create blue --ipv4-cidr 10.20.0.0/16");
    let first = bench.lease("web-0");
    // The history is forgotten in steps of a thousand.
    let lease = |number: usize| {
        let (high, low) = (number / 200, number % 200);
        let line = json!({"lease": {
            "pool": "blue", "ipv4": format!("10.20.1{high}.{low}/16"), "owner": {"claim": format!("c{number}")}
        }});
        format!("{line}\n")
    };
    let file = bench.file("many.jsonl", &(0..1_100).map(lease).collect::<String>());
    bench.done(&format!("import {file}"));
    let at = text(&first["createTime"]);
    let shown = bench.fails(&format!("whohas 10.20.0.1 --at {at}"), 1);
    assert!(
        shown.ends_with("`ipamctl server` shows how far the history reaches [COMPACTED]\n"),
        "{shown}"
    );
    let shown = bench.fails("lease watch --after-revision 1", 1);
    assert!(shown.ends_with("[COMPACTED]\n"), "{shown}");
    assert_ne!(bench.json("server")["oldestRevision"], "1");
}
