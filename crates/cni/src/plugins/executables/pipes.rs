//! Feeding a child's standard input while both of its outputs are read, in one thread, within limits.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdin, ExitStatus};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The most that is read from standard output.
pub(super) const STDOUT_BYTES: usize = 8 << 20;
/// The most that is read from standard error.
pub(super) const STDERR_BYTES: usize = 1 << 20;
/// How often a child is checked whose outputs are held open, perhaps by a process it left behind.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What a child did.
pub(super) struct Outcome {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why there is no outcome. The child is still running.
pub(super) enum Trouble {
    TimedOut { stderr: Vec<u8> },
    TooMuch { stream: &'static str, limit: usize },
    Io(std::io::Error),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Trouble::Io(error)
    }
}

/// One output of the child, read until its end.
struct Output<R> {
    source: Option<R>,
    bytes: Vec<u8>,
    stream: &'static str,
    limit: usize,
}

impl<R: Read + AsFd> Output<R> {
    fn new(source: Option<R>, stream: &'static str, limit: usize) -> Result<Self, Trouble> {
        if let Some(source) = &source {
            never_block(source.as_fd())?;
        }
        Ok(Output {
            source,
            bytes: Vec::new(),
            stream,
            limit,
        })
    }

    /// Reads the bytes that have come; forgets the source at its end.
    fn read(&mut self) -> Result<(), Trouble> {
        let Some(source) = &mut self.source else {
            return Ok(());
        };
        let mut buffer = [0; 16 << 10];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => {
                    self.source = None;
                    return Ok(());
                }
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            if self.bytes.len() > self.limit {
                return Err(Trouble::TooMuch {
                    stream: self.stream,
                    limit: self.limit,
                });
            }
        }
    }
}

/// Writes `stdin` to the child and reads its outputs until it has ended, or until `deadline`.
pub(super) fn converse(
    child: &mut Child,
    stdin: &[u8],
    deadline: Instant,
) -> Result<Outcome, Trouble> {
    let mut checked = Instant::now();
    let mut input = child.stdin.take();
    if let Some(pipe) = &input {
        never_block(pipe.as_fd())?;
    }
    let mut rest = stdin;
    let mut stdout = Output::new(child.stdout.take(), "stdout", STDOUT_BYTES)?;
    let mut stderr = Output::new(child.stderr.take(), "stderr", STDERR_BYTES)?;
    write_some(&mut input, &mut rest)?;
    while input.is_some() || stdout.source.is_some() || stderr.source.is_some() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Trouble::TimedOut {
                stderr: stderr.bytes,
            });
        }
        wait_for_any(&input, &stdout, &stderr, left.min(POLL_INTERVAL))?;
        write_some(&mut input, &mut rest)?;
        stdout.read()?;
        stderr.read()?;
        if checked.elapsed() < POLL_INTERVAL {
            continue;
        }
        checked = Instant::now();
        if let Some(status) = child.try_wait()? {
            stdout.read()?;
            stderr.read()?;
            return Ok(Outcome {
                status,
                stdout: stdout.bytes,
                stderr: stderr.bytes,
            });
        }
    }
    match wait_until(child, deadline)? {
        Some(status) => Ok(Outcome {
            status,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
        }),
        None => Err(Trouble::TimedOut {
            stderr: stderr.bytes,
        }),
    }
}

/// Writes as much as the pipe takes; closes it when all is written or the child reads no more.
fn write_some(input: &mut Option<ChildStdin>, rest: &mut &[u8]) -> Result<(), Trouble> {
    while let Some(pipe) = input {
        if rest.is_empty() {
            *input = None;
            return Ok(());
        }
        match pipe.write(rest) {
            Ok(count) => *rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => *input = None,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until a pipe can be used, at most for `limit`.
fn wait_for_any<A: AsFd, B: AsFd>(
    input: &Option<ChildStdin>,
    stdout: &Output<A>,
    stderr: &Output<B>,
    limit: Duration,
) -> Result<(), Trouble> {
    let mut fds = Vec::with_capacity(3);
    fds.extend(
        input
            .as_ref()
            .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)),
    );
    fds.extend(
        stdout
            .source
            .as_ref()
            .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
    );
    fds.extend(
        stderr
            .source
            .as_ref()
            .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
    );
    let limit =
        PollTimeout::try_from(limit.max(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, limit) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(Trouble::Io(error.into())),
    }
}

/// Waits for a child that has closed its pipes: it ends at once, or it is up to something.
fn wait_until(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>, Trouble> {
    let mut pause = Duration::from_micros(20);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn never_block(fd: BorrowedFd<'_>) -> Result<(), Trouble> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|error| Trouble::Io(error.into()))?;
    Ok(())
}
