//! What the recording plugin (`src/bin/recording-plugin.rs`) wrote down, read back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// One execution of a recording plugin.
#[derive(Clone, Debug)]
pub struct RecordedCall {
    /// CNI_COMMAND.
    pub verb: String,
    /// CNI_IFNAME; empty if it was not given.
    pub ifname: String,
    /// CNI_CONTAINERID; empty if it was not given.
    pub container_id: String,
    /// `name` of its configuration.
    pub network: String,
    /// All variables whose names begin with `CNI_`.
    pub env: BTreeMap<String, String>,
    /// Its standard input, as it came.
    pub stdin: String,
    /// Its process.
    pub pid: u64,
    /// The process that started it.
    pub parent: u64,
    /// When it started, on the monotonic clock.
    pub start: Duration,
    /// When it was about to exit; `None` if it hangs or was killed.
    pub end: Option<Duration>,
}

impl RecordedCall {
    /// Its standard input as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn conf(&self) -> Value {
        serde_json::from_str(&self.stdin).expect("a configuration is JSON")
    }

    /// The value of a key of CNI_ARGS.
    pub fn arg(&self, key: &str) -> Option<&str> {
        let pairs = self.env.get("CNI_ARGS")?.split(';');
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// `<verb> <ifname> <network>`: what most tests compare.
    pub fn summary(&self) -> String {
        format!("{} {} {}", self.verb, self.ifname, self.network)
    }

    /// Whether it ran, at least for a moment, side by side with `other`.
    pub fn overlaps(&self, other: &RecordedCall) -> bool {
        let before = |a: &RecordedCall, b: &RecordedCall| a.end.is_some_and(|end| end <= b.start);
        !before(self, other) && !before(other, self)
    }
}

/// Reads a log of recording plugins; a log that is not there is empty. Calls come in the order in
/// which they started.
///
/// # Panics
/// When a line is not what the plugin writes.
pub(crate) fn read(log: &Path) -> Vec<RecordedCall> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let mut calls: Vec<RecordedCall> = Vec::new();
    for line in text.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let pid = line["pid"].as_u64().expect("a line has a pid");
        if let Some(end) = nanoseconds(&line["end"]) {
            let call = calls.iter_mut().rev().find(|call| call.pid == pid);
            call.expect("an end has a start").end = Some(end);
        } else {
            calls.push(start(pid, &line));
        }
    }
    calls.sort_by_key(|call| call.start);
    calls
}

fn start(pid: u64, line: &Value) -> RecordedCall {
    let env: BTreeMap<String, String> =
        serde_json::from_value(line["env"].clone()).expect("a start has an environment");
    let variable = |key: &str| env.get(key).cloned().unwrap_or_default();
    RecordedCall {
        verb: variable("CNI_COMMAND"),
        ifname: variable("CNI_IFNAME"),
        container_id: variable("CNI_CONTAINERID"),
        network: line["network"].as_str().unwrap_or_default().to_owned(),
        stdin: line["stdin"].as_str().unwrap_or_default().to_owned(),
        pid,
        parent: line["ppid"].as_u64().expect("a start has a parent"),
        start: nanoseconds(&line["start"]).expect("a start has a time"),
        end: None,
        env,
    }
}

fn nanoseconds(value: &Value) -> Option<Duration> {
    value.as_u64().map(Duration::from_nanos)
}
