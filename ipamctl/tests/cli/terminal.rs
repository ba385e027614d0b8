//! A program on a terminal of the test: a pair of pseudo-terminals.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

/// A program on a terminal.
pub(crate) struct Terminal {
    child: Child,
    ours: File,
    theirs: OwnedFd,
    before: Termios,
    /// Everything that was written so far.
    pub(crate) shown: String,
}

impl Terminal {
    /// Starts a program on a terminal of 24 lines.
    pub(crate) fn start(command: &mut Command) -> Terminal {
        let size = Winsize {
            ws_row: 24,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).expect("a terminal");
        let before = tcgetattr(&slave).expect("its state");
        let end = || Stdio::from(slave.try_clone().expect("another handle"));
        let child = command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("started");
        Terminal {
            child,
            ours: File::from(master),
            theirs: slave,
            before,
            shown: String::new(),
        }
    }

    /// Reads until a text was written.
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_until(|shown| shown.contains(text));
    }

    /// Reads until all that was written so far is what is waited for.
    pub(crate) fn wait_until(&mut self, holds: impl Fn(&str) -> bool) {
        let mut bytes = [0; 4096];
        while !holds(&self.shown) {
            let count = self.ours.read(&mut bytes).expect("a terminal that is open");
            self.shown
                .push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.ours.write_all(keys).expect("pressed");
    }

    pub(crate) fn id(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a small number"))
    }

    /// Waits for the end; the exit code, and whether the terminal is as it was.
    pub(crate) fn end(&mut self) -> (Option<i32>, bool) {
        let code = self.child.wait().expect("ended").code();
        (
            code,
            tcgetattr(&self.theirs).expect("its state") == self.before,
        )
    }
}
