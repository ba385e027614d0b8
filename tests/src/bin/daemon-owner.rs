//! A process that has a [`Daemon`], `sleep SECONDS`, and does nothing else until it is killed: for the
//! test that such a daemon does not outlive its owner.

use std::process::Command;

use e2e::Daemon;
use nix::sys::signal::Signal;

fn main() {
    let folder = tempfile::tempdir().expect("make a folder");
    let mut command = Command::new("sleep");
    command.args(std::env::args().nth(1));
    let mut daemon = Daemon::start(command, &folder.path().join("log"));
    // Goes on with it, and waits for its end.
    daemon.stop(Signal::SIGCONT);
}
