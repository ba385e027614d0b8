//! Commands of single leases, and what shows who has and had which.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use proto::ipam::v1::WatchResponse;

use crate::canned::Canned;
use crate::harness::{Bench, json};

#[test]
fn leases_are_taken_shown_renewed_and_released() {
    let bench = Bench::with_lease();
    bench.done("pool create red --ipv4 10.30.0.0/24");
    bench.done("lease allocate --pool blue --claim vm-7 --node n1");
    bench.done("lease allocate --pool red --claim vm-7 --node n1");
    let table = bench.done("lease list --pool blue");
    assert_eq!(table.lines().count(), 3, "{table}");
    let table = bench.done("lease list --pool blue --node n1");
    assert_eq!(table.lines().count(), 2, "{table}");
    assert_eq!(bench.done("lease list --limit 1").lines().count(), 2);
    let all = bench.json("lease list");
    assert_eq!(all["leases"][1]["owner"]["claim"], "vm-7", "{all}");
    let ids = bench.leases();
    let (first, second) = (&ids[0], &ids[1]);
    let shown = bench.json(&format!("lease get {first}"));
    assert_eq!(shown["ipv6"], all["leases"][0]["ipv6"]);
    bench.done(&format!("lease renew {first} --ttl-seconds 60"));
    assert!(bench.json(&format!("lease get {first}"))["expireTime"].is_string());
    bench.done(&format!("lease release {first} {second} --yes"));
    let error = bench.fails(&format!("lease get {first}"), 3);
    assert!(
        error.starts_with(&format!("error: lease {first} does not exist; "))
            && error.ends_with("[LEASE_NOT_FOUND]\n"),
        "{error}"
    );
}

/// A page of the server holds 1,000 leases at most.
#[test]
fn a_list_turns_pages() {
    let bench = Bench::new();
    bench.import_leases(2100);
    assert_eq!(bench.done("lease list --pool wide").lines().count(), 2101);
}

#[test]
fn what_destroys_asks_and_only_yes_is_yes() {
    let bench = Bench::with_lease();
    let id = bench.leases().remove(0);
    let lease = bench.json(&format!("lease get {id}"));
    let addresses = ["ipv4", "ipv6"].map(|family| lease[family].as_str().expect("an address"));
    let question = format!(
        "Release {id} ({}) of default/web-0? [y/N] ",
        addresses.join(" ")
    );
    for (answer, code, left) in [("", 1, 1), ("no\n", 1, 1), ("y\n", 0, 0)] {
        let done = bench.run_with(&format!("lease release {id}"), answer, &[]);
        assert_eq!(done.code, Some(code), "{done:?}");
        assert!(done.err.starts_with(&question), "{done:?}");
        assert_eq!(bench.leases().len(), left);
    }
    let done = bench.run_with("pool delete blue", "n\n", &[]);
    let expected = "not confirmed, nothing was changed";
    assert!(done.err.contains(expected), "{done:?}");
}

#[test]
fn a_watch_is_lines_for_people_and_objects_for_programs() {
    let bench = Bench::with_lease();
    let id = bench.leases().remove(0);
    let table = bench.done("lease watch --after-revision 1 --limit 1");
    assert!(
        table.starts_with("REVISION   TIME                   TYPE      SUBJECT"),
        "{table}"
    );
    let created = format!("2          2026-01-01T00:00:00Z   CREATED   lease/{id}");
    assert!(table.contains(&created), "{table}");
    let line = bench.done("lease watch --after-revision 1 --limit 1 -o json");
    assert_eq!(json(&line)["event"]["type"], "CREATED", "{line}");
    // The server ends while it is watched.
    let mut watch = bench
        .command(&["lease", "watch", "--after-revision", "1", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let mut next = || json(&lines.next().expect("a line").expect("UTF-8"));
    assert_eq!(next()["event"]["type"], "CREATED");
    assert!(next()["bookmarkRevision"].is_string());
    bench.end_streams();
    let mut error = String::new();
    let mut stderr = watch.stderr.take().expect("piped");
    stderr.read_to_string(&mut error).expect("UTF-8");
    assert_eq!(watch.wait().expect("ended").code(), Some(1));
    assert!(error.ends_with("[STOPPING]\n"), "{error}");
}

#[test]
fn a_watch_that_ends_without_an_error_is_an_error() {
    let done = Canned::of_leases(&[] as &[WatchResponse]).run("lease watch");
    assert_eq!(done.code, Some(1), "{done:?}");
    let expected = "ended the watch before its end";
    assert!(done.err.contains(expected), "{done:?}");
}

#[test]
fn whohas_shows_the_holder_or_that_there_is_none() {
    let bench = Bench::with_lease();
    let id = bench.leases().remove(0);
    let lease = bench.json(&format!("lease get {id}"));
    let bare = |family: &str| {
        let address = lease[family]
            .as_str()
            .and_then(|text| text.split('/').next());
        address.expect("an address").to_owned()
    };
    let (ipv4, ipv6) = (bare("ipv4"), bare("ipv6"));
    assert!(
        bench
            .done(&format!("whohas {ipv6}"))
            .contains("default/web-0")
    );
    let yaml = bench.done(&format!("whohas {ipv4} --at -10m -o yaml"));
    assert!(yaml.contains("pod: web-0"), "{yaml}");
    let error = bench.fails("whohas 10.20.0.200", 3);
    assert_eq!(
        error,
        "error: nobody holds 10.20.0.200; `ipamctl history 10.20.0.200` shows who did\n"
    );
}

#[test]
fn who_had_an_address_before_the_history_begins_is_not_known() {
    let bench = Bench::with_history(1);
    // The history is cut in steps of 1,024 changes.
    bench.import_leases(1100);
    bench.done("pool create blue --ipv4 10.20.0.0/24");
    let error = bench.fails("whohas 10.20.1.7 --at 1970-01-02", 1);
    let expected = "`ipamctl server` shows how far the history reaches [COMPACTED]\n";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn explain_says_what_would_be_given_or_why_nothing() {
    let bench = Bench::new();
    bench.done("pool create blue --ipv4 10.20.0.0/24 --ipv4-gateway 10.20.0.1 --ipv6 fd00:20::/64");
    let would = bench.done("explain --pool blue");
    let last = would.lines().last().expect("lines");
    assert!(
        last.starts_with("would allocate 10.20.0.") && last.ends_with(" of pool blue"),
        "{would}"
    );
    let done = bench.run("explain 10.20.0.1");
    assert_eq!(done.code, Some(1));
    assert!(
        done.out.contains("blue   ADDRESS_RESERVED   ") && done.out.contains("gateway"),
        "{done:?}"
    );
    let error = bench.fails("explain 10.99.0.1", 3);
    assert!(error.contains("no pool holds 10.99.0.1"), "{error}");
}
