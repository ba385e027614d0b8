//! Waiting until something may have to be done: a change in a folder of configurations, a time limit, or the signal that
//! ends this process. As the first process of a container it has no signal that ends it by itself.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Wakes this process.
pub(super) struct Wake {
    folders: Inotify,
    signals: SignalFd,
}

/// Why it was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// Something changed, or the time is over.
    ToCheck,
    /// SIGTERM or SIGINT.
    ToEnd,
}

impl Wake {
    /// From now on, SIGTERM and SIGINT are for [`Wake::wait`].
    pub(super) fn begin() -> io::Result<Wake> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGINT);
        signals.thread_block()?;
        Ok(Wake {
            signals: SignalFd::with_flags(
                &signals,
                SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
            )?,
            folders: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?,
        })
    }

    /// Changes in this folder wake from now on. One that does not exist is tried again by the next call.
    pub(super) fn on_changes_in(&self, folder: &Path) {
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ONLYDIR;
        // Whatever is missed is found when the time is over.
        let _ = self.folders.add_watch(folder, flags);
    }

    /// Waits for `limit` at most.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<Woken> {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut sources = [
            PollFd::new(self.folders.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut sources, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Which files changed does not matter: all are read anew.
        let _ = self.folders.read_events();
        match self.signals.read_signal()? {
            Some(_) => Ok(Woken::ToEnd),
            None => Ok(Woken::ToCheck),
        }
    }
}
