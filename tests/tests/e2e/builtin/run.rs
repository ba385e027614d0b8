//! Runs the rows of a table on both sides, and across: what one side made, the other checks and deletes.

use std::collections::VecDeque;
use std::env;
use std::net::IpAddr;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use cni::plugins::{Call, Executables, PluginError, Plugins, Target};
use cni::skel::Command;
use e2e::locate;
use netlink::netns;
use plugins::{Builtin, Selection};
use serde_json::{Value, json};

use super::row::Row;
use super::state::{self, Plain, differences};
use super::twin::Twin;

const CONTAINER: &str = "c0ffee";
const IFNAME: &str = "eth0";
/// How many rows are worked on at once: most of their time is the kernel's, which takes namespaces down.
const AT_ONCE: usize = 6;

/// Who serves a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Reference,
    Ours,
}

/// What a step left: its answer, or the state after it.
type Steps = Vec<(&'static str, Value)>;

/// Something that is not as the reference has it.
struct Difference {
    how: &'static str,
    step: &'static str,
    what: String,
}

/// Runs the rows of a type and prints their count; fails with everything that differs without a reason.
pub(crate) fn compare(kind: &str, least: usize, rows: Vec<Row>) {
    let only = env::var("REFERENCE_ROW").ok();
    let is_wanted = |row: &Row| only.as_ref().is_none_or(|only| row.name.contains(only));
    let count = rows.len();
    assert!(count >= least, "{kind}: {count} rows of {least}");
    let chosen = rows.into_iter().filter(is_wanted).step_by(every());
    let chosen = chosen.collect::<VecDeque<_>>();
    let run = chosen.len();
    let waiting = Mutex::new(chosen);
    let faults = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let next = || waiting.lock().unwrap().pop_front();
                while let Some(row) = next() {
                    let found = faults_of(&row);
                    let mut faults = faults.lock().unwrap();
                    faults.extend(found.into_iter().map(|fault| format!("{kind} / {fault}")));
                }
            });
        }
    });
    let mut faults = faults.into_inner().unwrap();
    faults.sort();
    eprintln!("{kind}: {run} of {count} rows, {} faults", faults.len());
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Of how many rows one is run: `BUILTIN_EVERY` (1). Under user-mode Linux a row takes many seconds.
fn every() -> usize {
    let every = env::var("BUILTIN_EVERY").ok();
    every.map_or(1, |number| {
        number.parse().expect("BUILTIN_EVERY is a number")
    })
}

/// What differs without a reason, and reasons for which nothing differs.
fn faults_of(row: &Row) -> Vec<String> {
    let name = &row.name;
    let reference = run(row, |stage| stage.steps(Side::Reference));
    let ours = run(row, |stage| stage.steps(Side::Ours));
    let mut found = differences_of("built in", &reference, &ours);
    let across = |adds, deletes| run(row, move |stage| stage.across(adds, deletes));
    let reference = across(Side::Reference, Side::Reference);
    for (how, adds, deletes) in [
        ("added by the reference", Side::Reference, Side::Ours),
        ("deleted by the reference", Side::Ours, Side::Reference),
    ] {
        found.extend(differences_of(how, &reference, &across(adds, deletes)));
    }
    let is_at = |step: &str, at: &str| at == "*" || at == step;
    let mut faults = Vec::new();
    for (at, why) in &row.differs {
        if !found.iter().any(|one| is_at(one.step, at)) {
            faults.push(format!("{name} / nothing differs at {at}: {why}"));
        }
    }
    found.retain(|one| !row.differs.iter().any(|(at, _)| is_at(one.step, at)));
    let shown = found.iter();
    faults.extend(shown.map(|one| format!("{name} / {} / {}{}", one.how, one.step, one.what)));
    faults
}

/// Compares step by step.
fn differences_of(how: &'static str, reference: &Steps, ours: &Steps) -> Vec<Difference> {
    let mut found = Vec::new();
    for ((step, reference), (_, ours)) in reference.iter().zip(ours) {
        let mut places = Vec::new();
        differences(reference, ours, "", &mut places);
        let here = places.into_iter();
        found.extend(here.map(|what| Difference { how, step, what }));
    }
    found
}

/// The steps of a row.
fn run(row: &Row, act: impl FnOnce(&mut Stage<'_>) + Send) -> Steps {
    let twin = Twin::new();
    let fill = |text: &str| text.replace("{data}", &twin.data().display().to_string());
    for words in &row.host {
        twin.on_host(&fill(words));
    }
    for words in &row.pod {
        twin.in_pod(&fill(words));
    }
    for (path, text) in &row.files {
        twin.write(path, text);
    }
    let read = |conf: &Value| serde_json::from_str::<Value>(&fill(&conf.to_string())).unwrap();
    let (conf, before) = (read(&row.conf), row.after.as_ref().map(read));
    let mut stage = Stage {
        twin: &twin,
        plain: Plain::of(&twin),
        conf,
        args: &row.args,
        leaves_links: row.leaves_links,
        pod: twin.pod().display().to_string(),
        steps: Vec::new(),
    };
    let inside = netns::within(&twin.host(), || {
        if let Some(before) = before {
            stage.run_before(&before);
        }
        act(&mut stage);
        stage.steps
    });
    inside.unwrap()
}

/// One side at work, on a thread of its host.
struct Stage<'a> {
    twin: &'a Twin,
    plain: Plain,
    conf: Value,
    args: &'a str,
    leaves_links: bool,
    pod: String,
    steps: Steps,
}

impl Stage<'_> {
    /// Runs the main plugin that the row's stands behind.
    fn run_before(&mut self, before: &Value) {
        // CNI_ARGS are for the row's.
        let args = std::mem::take(&mut self.args);
        let made = self.call(Side::Reference, Command::Add, before, &self.pod);
        self.args = args;
        self.conf["prevResult"] = serde_json::from_slice(&made.unwrap()).unwrap();
    }

    /// Everything, by one side.
    fn steps(&mut self, side: Side) {
        let conf = self.conf.clone();
        let pod = self.pod.clone();
        self.answer("STATUS", side, Command::Status, &conf, "");
        let added = self.step("ADD", side, Command::Add, &conf, &pod);
        let with_result = self.with_result(added.as_ref());
        if added.is_some() {
            self.answer("CHECK", side, Command::Check, &with_result, &pod);
            self.step("ADD again", side, Command::Add, &conf, &pod);
        }
        self.step("DEL", side, Command::Del, &with_result, &pod);
        if added.is_some() {
            let step = "CHECK after DEL";
            self.answer(step, side, Command::Check, &with_result, &pod);
        }
        self.step("DEL again", side, Command::Del, &with_result, &pod);
        self.answer("third ADD", side, Command::Add, &conf, &pod);
        let mut listed = conf;
        listed["cni.dev/valid-attachments"] = json!([]);
        self.answer("GC", side, Command::Gc, &listed, "");
        let mut left = self.left(side);
        // No plugin of the reference has GC: its files stay, and ours go.
        let files = left["files"].take();
        // The leases of a plugin before the row's are not the row's to remove.
        let is_first = self.conf.get("prevResult").is_none();
        if side == Side::Ours && is_first && self.has_succeeded("GC") {
            left["leases"] = leases(&files);
        }
        let left = self.plain.value(&json!({"left": left}));
        self.steps.push(("GC", left));
        self.twin.end_pod();
        self.step(
            "DEL of what is gone",
            side,
            Command::Del,
            &with_result,
            &pod,
        );
        self.answer(
            "DEL without CNI_NETNS",
            side,
            Command::Del,
            &with_result,
            "",
        );
    }

    /// What is left now.
    fn left(&self, side: Side) -> Value {
        let mut left = state::read(self.twin);
        if self.leaves_links && side == Side::Reference {
            state::forget_random_links(&mut left["pod"]);
        }
        left
    }

    fn has_succeeded(&self, step: &str) -> bool {
        let answers = self.steps.iter().filter(|(name, _)| *name == step);
        let mut answers = answers.map(|(_, seen)| &seen["answer"]);
        answers.any(|answer| answer.get("result").is_some())
    }

    /// ADD by one side, CHECK and DEL by the other.
    fn across(&mut self, adds: Side, deletes: Side) {
        let conf = self.conf.clone();
        let pod = self.pod.clone();
        let added = self.answer("ADD", adds, Command::Add, &conf, &pod);
        let with_result = self.with_result(added.as_ref());
        if added.is_some() {
            self.answer("CHECK", deletes, Command::Check, &with_result, &pod);
        }
        self.step("DEL", deletes, Command::Del, &with_result, &pod);
    }

    /// The configuration with the result of an ADD.
    fn with_result(&self, result: Option<&Value>) -> Value {
        let mut conf = self.conf.clone();
        if let Some(result) = result {
            conf["prevResult"] = result.clone();
        }
        conf
    }

    /// One command, its answer and the state after it. Gives the result, if it succeeded.
    fn step(
        &mut self,
        name: &'static str,
        side: Side,
        command: Command,
        conf: &Value,
        netns: &str,
    ) -> Option<Value> {
        let answer = self.answer(name, side, command, conf, netns);
        let seen = json!({"left": self.left(side)});
        let seen = self.plain.value(&seen);
        self.steps.push((name, seen));
        answer
    }

    /// One command and its answer. Gives the result, if it succeeded.
    fn answer(
        &mut self,
        name: &'static str,
        side: Side,
        command: Command,
        conf: &Value,
        netns: &str,
    ) -> Option<Value> {
        let answer = self.call(side, command, conf, netns);
        if env::var_os("REFERENCE_VERBOSE").is_some() {
            let text = answer.as_deref().map(String::from_utf8_lossy);
            eprintln!("{name} {side:?}: {text:?}");
        }
        let result = match &answer {
            Ok(stdout) => Some(serde_json::from_slice(stdout).unwrap_or(Value::Null)),
            Err(_) => None,
        };
        let seen = match &answer {
            Ok(_) => json!({"result": result}),
            Err(PluginError::Failed { object, .. }) => json!({"code": object.code}),
            Err(other) => json!({"other": other.to_string()}),
        };
        let seen = self.plain.value(&json!({"answer": seen}));
        self.steps.push((name, seen));
        result
    }

    fn call(
        &self,
        side: Side,
        command: Command,
        conf: &Value,
        netns: &str,
    ) -> Result<Vec<u8>, PluginError> {
        let kind = conf["type"].as_str().unwrap();
        let stdin = conf.to_string();
        let target = match command {
            Command::Gc | Command::Status => Target::NOWHERE,
            _ => Target {
                container_id: CONTAINER,
                netns,
                ifname: IFNAME,
                args: self.args,
            },
        };
        let call = Call::new(kind, command, target, stdin.as_bytes());
        let deadline = Instant::now() + Duration::from_secs(60);
        match side {
            Side::Reference => executables().call(&call, deadline),
            Side::Ours => {
                let builtin = Builtin::before(executables(), Selection::Auto);
                builtin.call(&call, deadline)
            }
        }
    }
}

/// The leases among files; nothing if there is none.
fn leases(files: &Value) -> Value {
    let is_lease = |name: &&String| {
        let name = name.rsplit('/').next().unwrap_or_default();
        name.parse::<IpAddr>().is_ok()
    };
    let found: Vec<_> = files.as_object().unwrap().keys().filter(is_lease).collect();
    match found.is_empty() {
        true => Value::Null,
        false => json!(found),
    }
}

pub(crate) fn executables() -> Executables {
    Executables::in_folders(vec![locate::pinned_plugins()])
}
