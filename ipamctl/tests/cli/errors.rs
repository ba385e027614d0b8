//! Errors: one line with the reason and what to do.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::canned::Canned;
use crate::harness::{Bench, run};

#[test]
fn errors_are_one_line_with_reason_and_remedy() {
    let bench = Bench::new();
    bench.done("pool create blue --ipv4 10.20.0.0/24 --ipv4-gateway 10.20.0.1");
    for (line, code, start, end) in [
        (
            "pool get red",
            3,
            "pool red does not exist",
            "[POOL_NOT_FOUND]",
        ),
        ("pool create x", 2, "pool.ipv4: ", "[INVALID_FIELD]"),
        (
            "lease allocate --pool blue --claim x --ip 10.20.0.1",
            1,
            "10.20.0.1 of pool blue",
            "[ADDRESS_RESERVED]",
        ),
        (
            "--server ftp://x server",
            2,
            "--server: ftp://x is not ",
            "http://127.0.0.1:port",
        ),
        (
            "--server http://192.0.2.1:7443 server",
            2,
            "--server: http",
            "use https",
        ),
        (
            "--server https://192.0.2.1:7443 server",
            2,
            "--tls-ca",
            "needed for https",
        ),
    ] {
        assert_line(&bench.fails(line, code), start, end);
    }
}

#[track_caller]
fn assert_line(error: &str, start: &str, end: &str) {
    let text = error.strip_prefix("error: ").unwrap_or_default();
    assert!(
        text.starts_with(start) && text.trim_end().ends_with(end),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_server_that_does_not_answer_is_waited_for_as_long_as_asked() {
    let done = Canned::silence().run("lease get 1 --timeout-seconds 1");
    assert_eq!(done.code, Some(1), "{done:?}");
    assert_line(&done.err, "unix://", "a change may or may not be made");
}

#[test]
fn a_missing_server_is_reported_with_its_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = format!("unix://{}/ipam.sock", folder.path().display());
    let done = run("server", "", &[("IPAM_SERVER", &missing)]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.err
            .starts_with(&format!("error: no ipam-server at {missing}: No such file")),
        "{done:?}"
    );
    assert!(
        done.err
            .ends_with("start it, or name another server with --server\n"),
        "{done:?}"
    );
    drop(
        std::os::unix::net::UnixListener::bind(folder.path().join("ipam.sock")).expect("a socket"),
    );
    let done = run("server", "", &[("IPAM_SERVER", &missing)]);
    assert!(done.err.contains("it is not running; start it"), "{done:?}");
}

#[test]
fn a_socket_of_another_user_is_reported_with_the_way_to_open_it() {
    let bench = Bench::new();
    let nobody = 65534;
    // Root may open everything: it becomes another user first. Anybody else takes away the own right.
    let root = nix::unistd::Uid::effective().is_root();
    let program = bench.path("ipamctl");
    std::fs::copy(env!("CARGO_BIN_EXE_ipamctl"), &program).expect("copied");
    let mode = |path: &std::path::Path, bits| {
        let rights = std::fs::Permissions::from_mode(bits);
        std::fs::set_permissions(path, rights).expect("set");
    };
    mode(&bench.path(""), 0o755);
    mode(&bench.path("ipam.sock"), 0);
    let mut command = Command::new(program);
    command.args(["server", "--server"]).arg(bench.address());
    if root {
        command.uid(nobody);
    }
    let done = command.output().expect("started");
    let error = String::from_utf8(done.stderr).expect("UTF-8");
    assert_eq!(done.status.code(), Some(1));
    assert!(
        error.ends_with(
            "ipam.sock may be opened by its owner only; run this as root, or with sudo\n"
        ),
        "{error}"
    );
}
