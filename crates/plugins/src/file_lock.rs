//! A lock that plugins of other processes hold on a file, too (flock(2)).

use std::fs::{File, TryLockError};
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Instant;

/// Locks a file until it is dropped; none if another has it until `deadline`.
pub(crate) fn lock(file: File, deadline: Instant) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => return Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // flock(2) has no time limit: a thread waits, and releases a lock that comes too late.
    let (sender, receiver) = mpsc::channel();
    let waiting = thread::Builder::new().name("flock".to_owned());
    waiting.spawn(move || {
        let locked = file.lock().map(|()| file);
        // Nobody receives it any more after the time.
        let _ = sender.send(locked);
    })?;
    let left = deadline.saturating_duration_since(Instant::now());
    match receiver.recv_timeout(left) {
        Ok(locked) => locked.map(Some),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(None),
    }
}
