//! One execution of `meta-cni`, as a container runtime does it and as a test changes it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::host::locate;
use crate::host::merge::merge;
use crate::node::Node;
use crate::node::outcome::Outcome;
use crate::node::pod::Pod;

/// When a call that does not end is killed, and the test with it.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// How long output is waited for after the exit: an orphan may hold the pipe open.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// A call that is being put together, see [`Node::call`].
#[derive(Debug)]
#[must_use = "a call is made by `run` or `spawn`"]
pub struct Call<'n> {
    node: &'n Node,
    program: Option<PathBuf>,
    verb: String,
    env: BTreeMap<String, String>,
    conf: Value,
    stdin: Option<Vec<u8>>,
    wrapper: Vec<OsString>,
}

impl<'n> Call<'n> {
    pub(crate) fn new(node: &'n Node, verb: &str) -> Call<'n> {
        let path = node.bin_dir().display().to_string();
        let env = [("CNI_COMMAND", verb), ("CNI_PATH", &path)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Call {
            node,
            program: None,
            verb: verb.to_owned(),
            env: env.into(),
            conf: node.configuration().clone(),
            stdin: None,
            wrapper: Vec::new(),
        }
    }

    /// Is about this pod: sets CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME (`eth0`) and CNI_ARGS.
    pub fn pod(self, pod: &Pod) -> Self {
        let netns = pod.netns().path().display().to_string();
        self.env("CNI_CONTAINERID", &pod.container_id)
            .env("CNI_NETNS", &netns)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_ARGS", &pod.cni_args())
    }

    /// Runs another program than `meta-cni`, for example a plugin of [`Node::bin_dir`].
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Removes a variable of the environment.
    pub fn without_env(mut self, key: &str) -> Self {
        self.env.remove(key);
        self
    }

    /// Sets CNI_IFNAME.
    pub fn ifname(self, ifname: &str) -> Self {
        self.env("CNI_IFNAME", ifname)
    }

    /// Sets CNI_CONTAINERID.
    pub fn container_id(self, id: &str) -> Self {
        self.env("CNI_CONTAINERID", id)
    }

    /// Adds `;<pairs>` to CNI_ARGS.
    pub fn args(self, pairs: &str) -> Self {
        let before = self.env.get("CNI_ARGS").cloned().unwrap_or_default();
        let all = if before.is_empty() {
            pairs.to_owned()
        } else {
            format!("{before};{pairs}")
        };
        self.env("CNI_ARGS", &all)
    }

    /// Changes the configuration of this call by a JSON merge patch.
    pub fn conf(mut self, patch: Value) -> Self {
        merge(&mut self.conf, &patch);
        self
    }

    /// Replaces the configuration of this call.
    pub fn whole_conf(mut self, conf: Value) -> Self {
        self.conf = conf;
        self
    }

    /// Gives these bytes on standard input, whatever the configuration says.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs the program under another one, for example `["strace", "-f", "-o", path]`.
    pub fn under<S: Into<OsString>>(mut self, wrapper: impl IntoIterator<Item = S>) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Runs the call to its end. The result of an ADD is kept for the CHECK and DEL that follow.
    ///
    /// # Panics
    /// When the program cannot be started or does not end within two minutes.
    pub fn run(self) -> Outcome {
        let (node, key, is_add) = (self.node, self.attachment(), self.verb == "ADD");
        let outcome = self.spawn().wait();
        if is_add
            && outcome.status.success()
            && let Ok(result) = serde_json::from_str(&outcome.stdout)
        {
            let mut results = node.results.lock().expect("no test panicked here");
            results.insert(key, result);
        }
        outcome
    }

    /// Starts the call and does not wait for it.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(self) -> Running {
        let stdin = self.input();
        let program = self
            .program
            .clone()
            .unwrap_or_else(|| locate::executable("meta-cni"));
        let mut words = self.wrapper.clone();
        words.push(program.into_os_string());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(&self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let child = self.node.host().run(|| command.spawn());
        let child = child.unwrap_or_else(|error| panic!("start {words:?}: {error}"));
        let what = format!("{} {}", self.verb, self.attachment().0);
        Running::new(what, child, started, stdin)
    }

    fn attachment(&self) -> (String, String) {
        let value = |key: &str| self.env.get(key).cloned().unwrap_or_default();
        (value("CNI_CONTAINERID"), value("CNI_IFNAME"))
    }

    fn input(&self) -> Vec<u8> {
        if let Some(bytes) = &self.stdin {
            return bytes.clone();
        }
        let mut conf = self.conf.clone();
        let results = self.node.results.lock().expect("no test panicked here");
        if matches!(self.verb.as_str(), "CHECK" | "DEL")
            && let Some(result) = results.get(&self.attachment())
            && conf.get("prevResult").is_none()
        {
            conf["prevResult"] = result.clone();
        }
        conf.to_string().into_bytes()
    }
}

/// A call that has started. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    started: Instant,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
}

impl Running {
    fn new(what: String, mut child: Child, started: Instant, input: Vec<u8>) -> Running {
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        thread::spawn(move || {
            // A program that does not want its input closes the pipe: its own affair.
            let _closed = stdin.write_all(&input);
        });
        let stdout = drain(child.stdout.take().expect("stdout is a pipe"));
        let stderr = drain(child.stderr.take().expect("stderr is a pipe"));
        Running {
            what,
            child,
            started,
            stdout,
            stderr,
        }
    }

    /// The process: of the wrapper, if the call has one.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) {
        let _gone_already = kill(Pid::from_raw(self.pid().cast_signed()), signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within two minutes.
    pub fn wait(mut self) -> Outcome {
        let (done, timer) = channel::<()>();
        let pid = Pid::from_raw(self.pid().cast_signed());
        let watch = thread::spawn(move || {
            let late = timer.recv_timeout(TIME_LIMIT).is_err();
            if late {
                let _gone_already = kill(pid, Signal::SIGKILL);
            }
            late
        });
        let status = self.child.wait().expect("wait for a child");
        let elapsed = self.started.elapsed();
        let _late = done.send(());
        let late = watch.join().expect("the watch does not panic");
        let outcome = Outcome {
            what: self.what.clone(),
            status,
            stdout: collect(&self.stdout),
            stderr: collect(&self.stderr),
            elapsed,
        };
        assert!(!late, "did not end within {TIME_LIMIT:?}: {outcome}");
        outcome
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _waited_for = self.child.wait();
    }
}

/// Reads a pipe to its end on a thread of its own, piece by piece.
fn drain(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (pieces, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if pieces.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

fn collect(pieces: &Receiver<Vec<u8>>) -> String {
    let mut all = Vec::new();
    while let Ok(piece) = pieces.recv_timeout(OUTPUT_GRACE) {
        all.extend(piece);
    }
    String::from_utf8_lossy(&all).into_owned()
}
