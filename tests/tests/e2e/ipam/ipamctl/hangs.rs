//! A server that hangs: each command ends by itself, with its time limit in the error.

use std::fs;
use std::time::Duration;

use e2e::wait_until;
use nix::sys::signal::Signal;

use super::Bench;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_command_ends_at_its_time_limit_when_the_server_hangs() {
    let bench = Bench::with_pool();
    let backup = bench.server.folder().join("backup.jsonl");
    let export = bench.done("export");
    fs::write(&backup, &export).expect("write the backup");
    let pods = bench.server.folder().join("pods.txt");
    fs::write(&pods, "ns/web\n").expect("write a list of pods");
    bench.server.signal(Signal::SIGSTOP);
    let status = format!("/proc/{}/status", bench.server.pid());
    wait_until("the server is stopped", PATIENCE, || {
        let status = fs::read_to_string(&status).expect("read the state of a process");
        status.contains("State:\tT").then_some(())
    });
    for line in [
        "pool list".to_owned(),
        "pool delete blue --yes".to_owned(),
        "lease list".to_owned(),
        "lease watch".to_owned(),
        format!("lease reclaim {}", pods.display()),
        "whohas 10.20.0.2".to_owned(),
        "history".to_owned(),
        "check".to_owned(),
        "server".to_owned(),
        "reservation list".to_owned(),
        "export".to_owned(),
        format!("import {}", backup.display()),
    ] {
        let done = bench.run(&format!("{line} --timeout-seconds 1"));
        assert_eq!(done.code, Some(1), "{line}: {done:?}");
        assert!(
            done.err.contains("did not answer within 1 s"),
            "{line}: {done:?}"
        );
    }
    bench.server.signal(Signal::SIGCONT);
    // The first line has the time.
    let items = |export: &str| {
        export
            .lines()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(items(&bench.done("export")), items(&export));
}
