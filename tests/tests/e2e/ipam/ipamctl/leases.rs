//! `ipamctl lease`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Bench, json, text};

#[test]
fn leases_are_taken_listed_renewed_and_released() {
    let bench = Bench::with_pool();
    let web = bench.lease("web-0");
    assert_eq!(
        (text(&web["ipv4"]), text(&web["ipv6"])),
        ("10.20.0.2/24", "fd00:20::1/64")
    );
    let vm = bench.json("lease allocate --pool blue --claim vm-7 --node n1 --label a=b --ttl-seconds 600 --mac 02:00:00:00:00:07");
    let vm = text(&vm["lease"]["id"]).to_owned();
    for (flags, found) in [
        ("", 2),
        ("--pool blue", 2),
        ("--pool red", 0),
        ("--node n1", 1),
        ("--pod default/web-0", 1),
        ("--namespace default", 1),
        ("--label a=b", 1),
        ("--state active", 2),
        ("--state quarantined", 0),
        ("--filter owner.claim=vm-*", 1),
        ("--filter mac=02:00:00:00:00:07", 1),
        ("--limit 1", 1),
    ] {
        let shown = bench.json(&format!("lease list {flags}"));
        assert_eq!(
            shown["leases"].as_array().map(Vec::len),
            Some(found),
            "{flags}: {shown}"
        );
    }
    let table = bench.done("lease list --node n1");
    assert!(
        table.contains("vm-7") && table.lines().count() == 2,
        "{table}"
    );

    let before = bench.json(&format!("lease get {vm}"));
    bench.done(&format!("lease renew {vm} --ttl-seconds 6000"));
    let after = bench.json(&format!("lease get {vm}"));
    assert!(
        text(&after["expireTime"]) > text(&before["expireTime"]),
        "{after}"
    );
    assert_eq!(
        (&before["generation"], &after["generation"]),
        (&json!("1"), &json!("2"))
    );

    bench.done(&format!("lease release {vm} {} --yes", text(&web["id"])));
    assert_eq!(bench.json("lease list"), json!({"leases": []}));
}

#[test]
fn the_same_request_gets_the_same_lease() {
    let bench = Bench::with_pool();
    let line = "lease allocate --pool blue --claim vm-7 --request-id r1";
    let first = bench.json(line);
    let again = bench.run(&format!("{line} -o json"));
    assert_eq!(again.err, "the lease existed before\n");
    assert_eq!(json(&again.out)["lease"], first["lease"]);
    let differs = bench.fails("lease allocate --pool blue --claim vm-8 --request-id r1", 1);
    assert!(differs.ends_with("[REQUEST_MISMATCH]\n"), "{differs}");
}

#[test]
fn a_watch_shows_each_change_as_it_happens_and_ends_with_the_server() {
    let mut bench = Bench::with_pool();
    bench.lease("web-0");
    let mut child = bench
        .server
        .ipamctl_command(&["lease", "watch", "--include-existing", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start ipamctl");
    let stdout = child.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let mut next = || json(&lines.next().expect("another line").expect("UTF-8"));
    let there = next();
    assert_eq!(there["event"]["after"]["lease"]["owner"]["pod"], "web-0");
    assert_eq!(there["event"].get("revision"), None, "it is no change");
    let bookmark = next();
    assert_eq!(bookmark["bookmarkRevision"], "2");
    assert!(
        bookmark["storeId"]
            .as_str()
            .is_some_and(|id| !id.is_empty())
    );
    bench.lease("web-1");
    bench.done("lease release l3 --yes");
    let changes = [next(), next()];
    let shown = |change: &Value, side: &str| {
        let event = &change["event"];
        (
            event["revision"].clone(),
            event["type"].clone(),
            event[side]["lease"]["id"].clone(),
        )
    };
    assert_eq!(
        shown(&changes[0], "after"),
        (json!("3"), json!("CREATED"), json!("l3"))
    );
    assert_eq!(
        shown(&changes[1], "before"),
        (json!("4"), json!("RELEASED"), json!("l3"))
    );
    bench.server.stop();
    let output = child.wait_with_output().expect("wait for ipamctl");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        shown.contains("the server is stopping") && shown.lines().count() == 1,
        "{shown}"
    );

    bench.server.restart();
    let table = bench.done("lease watch --after-revision 2 --limit 2");
    assert!(
        table.contains("CREATED   lease/l3") && table.contains("RELEASED   lease/l3"),
        "{table}"
    );
    let filtered = bench
        .done("lease watch --after-revision 0 --include-existing --pod default/web-0 --limit 1");
    assert!(filtered.contains("default/web-0"), "{filtered}");
}
