//! What is shown on a terminal and without one.

use std::io::Read as _;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use proto::ipam::v1::CheckConsistencyResponse;

use crate::canned::Canned;
use crate::harness::Bench;
use crate::terminal::Terminal;

#[test]
fn history_server_check_top_and_completion_are_text_without_a_terminal() {
    let bench = Bench::with_lease();
    let history = bench.done("history --pod default/web-0 --limit 5 -o wide");
    assert!(history.contains("uid:"), "{history}");
    let events = bench.json("history --pod default/web-0");
    assert!(
        events["events"][0]["after"]["lease"].is_object(),
        "{events}"
    );
    let server = bench.done("server");
    assert!(
        server.starts_with("VERSION   STORE    WRITABLE"),
        "{server}"
    );
    assert_eq!(bench.done("check"), "1 leases of 1 pools: all is well\n");
    let top = bench.done("top");
    assert!(
        top.starts_with("ipam-server ")
            && top.contains("  memory  1 pools")
            && top.contains("blue   IPv6"),
        "{top}"
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = bench.done(&format!("completion {shell}"));
        assert!(script.contains("whohas"), "{shell}");
    }
}

#[test]
fn a_check_that_finds_something_fails_and_shows_it() {
    let server = Canned::of_administration(&[CheckConsistencyResponse {
        problems: vec!["a count is off".to_owned()],
        ..CheckConsistencyResponse::default()
    }]);
    let done = server.run("check");
    assert_eq!(
        (done.out.as_str(), done.code),
        ("a count is off\n", Some(1))
    );
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let bench = Bench::new();
    bench.import_leases(3000);
    let mut child = bench
        .command(&["lease", "list", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    drop(child.stdout.take());
    let ended = child.wait().expect("ended");
    let mut error = String::new();
    let mut stderr = child.stderr.take().expect("piped");
    stderr.read_to_string(&mut error).expect("UTF-8");
    assert_eq!((ended.code(), error.as_str()), (Some(0), ""));
}

#[test]
fn top_gives_the_terminal_back_after_q_ctrl_c_and_sigterm() {
    let bench = Bench::with_lease();
    for how in ["q", "Ctrl-C", "SIGTERM"] {
        let mut terminal = Terminal::start(&mut bench.command(&["top"]));
        terminal.wait_for("quit");
        terminal.press(b"u");
        terminal.wait_for("u use");
        match how {
            "q" => terminal.press(b"q"),
            "Ctrl-C" => terminal.press(&[3]),
            _ => kill(terminal.id(), Signal::SIGTERM).expect("sent"),
        }
        terminal.wait_for("\u{1b}[?1049l");
        assert_eq!(terminal.end(), (Some(0), true), "{how}");
    }
}

#[test]
fn a_table_has_colours_on_a_terminal_and_not_with_no_color() {
    let bench = Bench::with_lease();
    for (value, coloured) in [("", true), ("1", false)] {
        let mut terminal = Terminal::start(bench.command(&["pool", "list"]).env("NO_COLOR", value));
        terminal.wait_for("ACTIVE");
        assert_eq!(
            terminal.shown.contains("\u{1b}[38;5;10mACTIVE"),
            coloured,
            "{:?}",
            terminal.shown
        );
        assert_eq!(terminal.end().0, Some(0));
    }
}
