//! Locks between threads and between processes, with files that are removed on the way.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::*;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(120);

fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c1");
    (dir, path)
}

/// How often this process has the file at `path` open.
fn times_open(path: &Path) -> usize {
    let file = fs::metadata(path).unwrap();
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    descriptors
        .flatten()
        .filter_map(|descriptor| fs::metadata(descriptor.path()).ok())
        .filter(|open| (open.dev(), open.ino()) == (file.dev(), file.ino()))
        .count()
}

/// Takes a lock that is held in a thread, and waits until that thread waits for it. The thread calls
/// `taken` when it has the lock.
fn waiter<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    path: &'scope Path,
    taken: impl FnOnce() + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, Lock> {
    let before = times_open(path);
    let waiter = scope.spawn(|| {
        let lock = Lock::take(path, LONG).unwrap();
        taken();
        lock
    });
    while times_open(path) == before && !waiter.is_finished() {
        thread::yield_now();
    }
    waiter
}

/// A shell that holds the lock at `path` by descriptor 9, and then does `then`; it can be asked to end,
/// and says what `then` prints.
fn shell(path: &Path, then: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut shell = Command::new("sh")
        .arg("-c")
        .arg(format!("exec 9>'{}'; flock 9; {then}", path.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(shell.stdout.take().unwrap());
    (shell, stdout)
}

fn line(stdout: &mut impl BufRead) -> String {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn holders_in_error(path: &Path) -> String {
    match Lock::take(path, Duration::ZERO) {
        Err(LockError::Busy { holders, .. }) => holders,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_taker_waits_until_the_first_lets_go() {
    let (_dir, path) = folder();
    let first = Lock::take(&path, LONG).unwrap();
    let let_go = AtomicBool::new(false);
    thread::scope(|scope| {
        let second = waiter(scope, &path, || assert!(let_go.load(Ordering::SeqCst)));
        let_go.store(true, Ordering::SeqCst);
        drop(first);
        second.join().unwrap();
    });
    assert!(path.exists(), "letting go leaves the file");
}

#[test]
fn a_taker_that_waited_for_a_file_that_was_removed_has_the_new_one() {
    let (_dir, path) = folder();
    let first = Lock::take(&path, LONG).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    // Keeps the number from being given to the next file.
    let _kept = File::open(&path).unwrap();
    thread::scope(|scope| {
        let second = waiter(scope, &path, || ());
        first.remove();
        let second = second.join().unwrap();
        assert_ne!(fs::metadata(&path).unwrap().ino(), inode);
        assert!(matches!(
            Lock::take(&path, Duration::ZERO),
            Err(LockError::Busy { .. })
        ));
        drop(second);
    });
}

#[test]
fn nobody_is_inside_with_another_although_files_are_removed() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 500;
    let (_dir, path) = folder();
    let inside = AtomicBool::new(false);
    let visits = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    // Without a pause between two tries, for more of them.
                    let lock = loop {
                        match Lock::take(&path, Duration::ZERO) {
                            Ok(lock) => break lock,
                            Err(LockError::Busy { .. }) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    };
                    assert!(!inside.swap(true, Ordering::SeqCst));
                    visits.fetch_add(1, Ordering::SeqCst);
                    assert!(is_still_at(&lock.file, &path).unwrap());
                    inside.store(false, Ordering::SeqCst);
                    lock.remove();
                }
            });
        }
    });
    assert_eq!(visits.into_inner(), THREADS * ROUNDS);
}

#[test]
fn a_file_that_was_removed_or_replaced_is_distinguished() {
    let (_dir, path) = folder();
    let file = open(&path).unwrap();
    assert!(is_still_at(&file, &path).unwrap());
    fs::remove_file(&path).unwrap();
    assert!(!is_still_at(&file, &path).unwrap());
    let replacement = open(&path).unwrap();
    assert!(!is_still_at(&file, &path).unwrap());
    assert!(is_still_at(&replacement, &path).unwrap());
}

#[test]
fn one_who_waited_too_long_learns_who_has_it() {
    let (_dir, path) = folder();
    let (mut shell, mut stdout) = shell(&path, "echo ready; read x");
    assert_eq!(line(&mut stdout), "ready");
    let error = Lock::take(&path, Duration::from_millis(1)).unwrap_err();
    let text = error.to_string();
    let start = "sandbox c1 is still being worked on after 0s by ";
    assert!(text.starts_with(start), "{text}");
    let holder = format!("sh ({})", shell.id());
    assert!(text.contains(&holder), "{text}");
    drop(shell.stdin.take());
    shell.wait().unwrap();
    Lock::take(&path, LONG).unwrap();
}

#[test]
fn what_a_plugin_starts_and_leaves_running_does_not_keep_the_lock() {
    let (_dir, path) = folder();
    let lock = Lock::take(&path, LONG).unwrap();
    let mut daemon = Command::new("sh")
        .args(["-c", "read x"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let holders = |path| holders(path).into_iter().map(|holder| holder.pid);
    let has_it = i32::try_from(daemon.id()).unwrap();
    assert!(holders(&path).any(|pid| pid == has_it));
    drop(lock);
    assert_eq!(holders(&path).count(), 0);
    Lock::take(&path, Duration::ZERO).unwrap();
    assert_eq!(daemon.try_wait().unwrap(), None, "it goes on");
    drop(daemon.stdin.take());
    assert!(!daemon.wait().unwrap().success(), "its input ended");
}

#[test]
fn what_a_killed_one_left_behind_has_the_lock_until_it_is_killed_too() {
    let (_dir, path) = folder();
    let (mut shell, mut stdout) = shell(&path, "sleep 1000 & echo $!; kill -KILL $$");
    let orphan = line(&mut stdout);
    shell.wait().unwrap();
    let started = Instant::now();
    let holders = holders_in_error(&path);
    assert!(holders.contains(&format!("({orphan})")), "{holders}");
    Lock::take(&path, LONG).unwrap();
    assert!(started.elapsed() >= ORPHAN_GRACE, "it is given time to end");
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "it is dead, so its output is closed");
}

/// Whatever its name is: the collector of orphans is started as /proc/self/exe.
#[test]
fn a_delegate_of_a_living_one_is_not_killed() {
    let (_dir, path) = folder();
    let mut living = Command::new("flock")
        .arg(&path)
        .args(["sh", "-c", "echo ready; read x; echo \"$x\""])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(living.stdout.take().unwrap());
    assert_eq!(line(&mut stdout), "ready");
    assert_eq!(holders(&path).len(), 2, "it and its child");
    kill_orphans(&path);
    let mut stdin = living.stdin.take().unwrap();
    stdin.write_all(b"still here\n").unwrap();
    assert_eq!(line(&mut stdout), "still here");
    assert!(living.wait().unwrap().success());
}

#[test]
fn one_that_waits_has_not_got_the_lock_and_is_not_killed() {
    let (_dir, path) = folder();
    let (mut shell, mut stdout) = shell(&path, "sleep 1000 & echo $!; kill -KILL $$");
    let orphan = line(&mut stdout);
    shell.wait().unwrap();
    let _waits = File::open(&path).unwrap();
    let pids: Vec<_> = holders(&path).iter().map(|holder| holder.pid).collect();
    assert_eq!(pids, [orphan.parse::<i32>().unwrap()]);
    kill_orphans(&path);
    Lock::take(&path, LONG).unwrap();
}

#[test]
fn the_taker_of_a_lock_is_read_from_what_the_kernel_shows() {
    let shown = "pos:\t0\nflags:\t0100000\nmnt_id:\t27\nino:\t997\n\
                lock:\t1: POSIX  ADVISORY  WRITE 12 fe:00:997 0 EOF\n\
                lock:\t1: FLOCK  ADVISORY  WRITE 4783 fe:00:997 0 EOF\n";
    assert_eq!(locker(shown), Some(4783));
    assert_eq!(locker("pos:\t0\nflags:\t0100000\n"), None);
}

#[test]
fn a_lock_that_cannot_be_made_is_an_error_at_once() {
    let error = Lock::take(Path::new("/nonexistent/locks/c1"), LONG).unwrap_err();
    match error {
        LockError::Io { path, source } => {
            assert_eq!(path, Path::new("/nonexistent/locks/c1"));
            assert_eq!(source.kind(), io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
}
