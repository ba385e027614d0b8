//! ipamctl on a terminal: `top`, and questions that are answered.

use nix::sys::signal::{Signal, kill};

use super::{Bench, text};
use crate::ipam::terminal::Terminal;

/// Waits until a text is on the screen: only what differs from what was there is written.
fn wait_for_screen(terminal: &mut Terminal, text: &str) {
    terminal.wait_until(|written| {
        let mut screen = vt100::Parser::new(24, 120, 0);
        screen.process(written.as_bytes());
        screen.screen().contents().contains(text)
    });
}

#[test]
fn top_follows_the_pools_and_outlives_the_server() {
    let mut bench = Bench::with_pool();
    let mut terminal = Terminal::start(&mut bench.server.ipamctl_command(&["top"]));
    wait_for_screen(&mut terminal, "1 pools  0 leases  revision 1");
    bench.lease("web-0");
    wait_for_screen(&mut terminal, "1 leases  revision 2");
    bench.server.kill9();
    wait_for_screen(&mut terminal, "no ipam-server at unix://");
    bench.server.restart();
    bench.lease("web-1");
    wait_for_screen(&mut terminal, "2 leases");
    terminal.press(b"q");
    terminal.wait_for("\u{1b}[?1049l");
    assert_eq!(terminal.end(), (Some(0), true));
}

#[test]
fn top_ends_and_restores_the_terminal_at_a_key_or_a_signal() {
    let bench = Bench::with_pool();
    for how in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut terminal = Terminal::start(&mut bench.server.ipamctl_command(&["top"]));
        terminal.wait_for("quit");
        kill(terminal.id(), how).expect("send a signal");
        terminal.wait_for("\u{1b}[?1049l");
        assert_eq!(terminal.end(), (Some(0), true), "{how}");
    }
}

#[test]
fn on_a_terminal_what_destroys_asks_and_only_yes_is_yes() {
    let bench = Bench::with_pool();
    let lease = bench.lease("web-0");
    let id = text(&lease["id"]);
    for (answer, code, left) in [("n\r", 1, 1), ("\r", 1, 1), ("yes\r", 0, 0)] {
        let words = ["lease", "release", id];
        let mut terminal = Terminal::start(&mut bench.server.ipamctl_command(&words));
        terminal.wait_for("of default/web-0? [y/N] ");
        terminal.press(answer.as_bytes());
        assert_eq!(terminal.end().0, Some(code), "{answer:?}");
        let leases = bench.json("lease list")["leases"].clone();
        assert_eq!(leases.as_array().map(Vec::len), Some(left), "{answer:?}");
    }
}
