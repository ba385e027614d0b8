//! Several servers of one store: one that is not running or hangs costs no command.

use crate::canned::Canned;
use crate::harness::{Bench, run};

#[test]
fn the_next_server_is_asked_if_one_is_not_running_or_hangs() {
    let (bench, hanging) = (Bench::new(), Canned::silence());
    let gone = format!("unix://{}", bench.path("gone.sock").display());
    let whole = bench.address();
    bench.done("pool create blue --ipv4 10.20.0.0/24");
    for servers in [
        format!("{gone},{whole}"),
        format!("{whole},{gone}"),
        format!("{},{whole}", hanging.address()),
        format!("{gone},{},{whole}", hanging.address()),
    ] {
        let with = |line: &str| {
            let done = run(&format!("--server {servers} {line}"), "", &[]);
            assert_eq!(done.code, Some(0), "{line}: {done:?}");
            done.out
        };
        assert!(with("pool list").contains("blue"));
        with("pool create red --ipv4 10.30.0.0/24");
        with("pool delete red --yes");
        // A request that is a stream.
        let lease =
            r#"{"lease": {"pool": "blue", "ipv4": "10.20.0.9/24", "owner": {"claim": "c"}}}"#;
        let file = bench.file("lease.jsonl", lease);
        with(&format!("import {file}"));
    }
}

#[test]
fn if_no_server_is_running_all_are_named() {
    let bench = Bench::new();
    let gone = |name: &str| format!("unix://{}", bench.path(name).display());
    let both = format!("{},{}", gone("a.sock"), gone("b.sock"));
    let done = run(&format!("--server {both} server"), "", &[]);
    assert_eq!(done.code, Some(1), "{done:?}");
    let begin = format!("error: no ipam-server at {both}: ");
    assert!(done.err.starts_with(&begin), "{}", done.err);
}
