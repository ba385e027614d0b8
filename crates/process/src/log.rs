//! A log on standard error that never blocks: lines wait in memory for a thread that writes them. When nobody reads
//! standard error, the memory fills up, and further lines are dropped and counted; the log says how many were as soon as
//! it is read again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that wait at most.
const LINES: usize = 8192;
/// Bytes that wait at most.
const BYTES: usize = 4 << 20;
/// Bytes that are written at once.
const CHUNK: usize = 16 << 10;
/// How long the end of a process waits for what is not written yet.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// How often it is checked whether everything is written.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Lines of this process that were dropped.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines of this process's log that were dropped, since nobody read standard error.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// A log. Dropping it waits up to a second for what is not written yet.
#[derive(Debug)]
pub struct Log(Lines);

/// Where lines are put: each `write` is one. Clones write to the same log.
#[derive(Clone, Debug)]
pub struct Lines {
    queue: SyncSender<Vec<u8>>,
    waiting: Arc<Waiting>,
    dropped: &'static AtomicU64,
}

/// What is not written yet.
#[derive(Debug, Default)]
struct Waiting {
    lines: AtomicUsize,
    bytes: AtomicUsize,
}

impl Log {
    /// Starts the thread that writes to standard error.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub fn to_stderr() -> io::Result<Log> {
        Log::to(io::stderr(), &DROPPED)
    }

    fn to(sink: impl Write + Send + 'static, dropped: &'static AtomicU64) -> io::Result<Log> {
        let (queue, lines) = sync_channel(LINES);
        let waiting = Arc::new(Waiting::default());
        let written = Arc::clone(&waiting);
        thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(sink, &lines, &written, dropped))?;
        Ok(Log(Lines {
            queue,
            waiting,
            dropped,
        }))
    }

    /// Where lines are put.
    pub fn lines(&self) -> Lines {
        self.0.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let end = Instant::now() + FLUSH_LIMIT;
        while self.0.waiting.lines.load(Ordering::Acquire) > 0 && Instant::now() < end {
            thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let waiting = self.waiting.bytes.fetch_add(line.len(), Ordering::Relaxed);
        self.waiting.lines.fetch_add(1, Ordering::Relaxed);
        if waiting + line.len() > BYTES || self.queue.try_send(line.to_vec()).is_err() {
            self.waiting.bytes.fetch_sub(line.len(), Ordering::Relaxed);
            self.waiting.lines.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines as they come. A sink that fails loses them: there is nowhere else to say so.
fn write_all(
    mut sink: impl Write,
    lines: &Receiver<Vec<u8>>,
    waiting: &Waiting,
    dropped: &AtomicU64,
) {
    let mut reported = dropped.load(Ordering::Relaxed);
    while let Ok(mut text) = lines.recv() {
        // What waits is written at once: a busy server has many lines a millisecond.
        let mut count = 1;
        while text.len() < CHUNK
            && let Ok(line) = lines.try_recv()
        {
            text.extend(line);
            count += 1;
        }
        let _lost = sink.write_all(&text);
        let now = dropped.load(Ordering::Relaxed);
        if now > reported {
            let lost = now - reported;
            let _lost = writeln!(
                sink,
                "{lost} lines of the log were dropped: standard error was not read"
            );
            reported = now;
        }
        waiting.bytes.fetch_sub(text.len(), Ordering::Relaxed);
        waiting.lines.fetch_sub(count, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    static COUNT: AtomicU64 = AtomicU64::new(0);
    static NONE: AtomicU64 = AtomicU64::new(0);

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_counted_and_block_nobody() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let log = Log::to(near, &COUNT).unwrap();
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let count = 3 * LINES;
        for _ in 0..count {
            log.lines().write_all(&line).unwrap();
        }
        let dropped = COUNT.load(Ordering::Relaxed);
        assert!(dropped > 0 && dropped < count as u64, "{dropped}");
        let reader = thread::spawn(move || {
            let mut text = String::new();
            far.read_to_string(&mut text).map(|_| text)
        });
        // What waits is written at the end.
        drop(log);
        let text = reader.join().unwrap().unwrap();
        let written = text.lines().filter(|line| line.starts_with('x')).count();
        assert_eq!(written as u64 + dropped, count as u64);
        assert!(text.contains("lines of the log were dropped"));
    }

    #[test]
    fn large_lines_are_bounded_too() {
        let (near, _far) = UnixStream::pair().unwrap();
        let log = Log::to(near, &NONE).unwrap();
        for _ in 0..16 {
            log.lines().write_all(&vec![b'x'; 1 << 20]).unwrap();
        }
        assert!(NONE.load(Ordering::Relaxed) >= 11);
    }
}
