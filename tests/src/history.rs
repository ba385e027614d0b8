//! What callers of several servers saw of one store, and whether a single log explains it: each acknowledged change is in the log,
//! the log is in the order of real time, nothing in it is held twice, a batch is made at once, and each read is of a state between its
//! beginning and its end, and not older than a read before. That an update of a pool stays is not checked: pools are not read.
//! A history is recorded in a file, and can be checked again without any server.

mod check;
mod log;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::Path;

use proto::ipam::v1::{Event, Lease};
use serde::{Deserialize, Serialize};

/// What was asked, what was answered, and what was done to the servers meanwhile.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// Calls, each from its first attempt to its answer.
    pub calls: Vec<Call>,
    /// The revision behind which everything was watched.
    pub from: u64,
    /// What the watcher of each server saw.
    pub watched: Vec<Vec<Event>>,
    /// What each server lists at the end.
    pub listed: Vec<Vec<Lease>>,
    /// What was broken.
    pub faults: Vec<Fault>,
}

/// An answered call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// When it was made first, and when it was answered, in microseconds of one clock.
    pub began: u64,
    /// See `began`.
    pub ended: u64,
    /// How often it was made again.
    pub retries: u64,
    /// What it was, with its answer.
    pub answer: Answer,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// These leases were made for new attachments, all or none.
    Allocated(Vec<Lease>),
    /// The lease of this id has ended.
    Released(String),
    /// The label `turn` of pool `blue` has this value.
    Updated(String),
    /// What the lease of an id is; none: there is none.
    Read(String, Option<Box<Lease>>),
}

impl Answer {
    fn kind(&self) -> &'static str {
        match self {
            Answer::Allocated(leases) if leases.len() > 1 => "batches",
            Answer::Allocated(_) => "allocations",
            Answer::Released(_) => "releases",
            Answer::Updated(_) => "updates of a pool",
            Answer::Read(..) => "reads",
        }
    }
}

/// Something that was broken, and mended again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Such as `a member is killed`.
    pub what: String,
    /// When, on the clock of the calls.
    pub began: u64,
    /// When it was mended.
    pub ended: u64,
}

impl History {
    /// Reads a recorded one.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(path: &Path) -> Result<History, String> {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(|error| named(&error))?;
        serde_json::from_reader(BufReader::new(file)).map_err(|error| named(&error))
    }

    /// Records it.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) {
        let folder = path.parent().expect("a file is in a folder");
        fs::create_dir_all(folder).expect("make a folder");
        let file = BufWriter::new(File::create(path).expect("make a file"));
        serde_json::to_writer(file, self).expect("write a history");
    }

    /// What is wrong with it, each in a sentence; nothing: one log explains all of it.
    pub fn violations(&self) -> Vec<String> {
        check::violations(self)
    }

    /// A table: how many calls, what was broken, and the longest time without an acknowledged allocation around each kind of fault.
    pub fn table(&self) -> String {
        let mut lines = vec![format!(
            "{} calls, of which {} were made again, {} changes in the log",
            self.calls.len(),
            self.calls.iter().filter(|call| call.retries > 0).count(),
            self.watched.first().map_or(0, Vec::len),
        )];
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for call in &self.calls {
            *kinds.entry(call.answer.kind()).or_default() += 1;
        }
        lines.extend(
            kinds
                .iter()
                .map(|(kind, count)| format!("  {count:>7} {kind}")),
        );
        let mut faults: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        let acknowledged = self.acknowledged();
        for fault in &self.faults {
            let (count, longest) = faults.entry(&fault.what).or_default();
            *count += 1;
            *longest = (*longest).max(longest_gap(&acknowledged, fault));
        }
        for (what, (count, longest)) in faults {
            let longest = longest as f64 / 1e6;
            lines.push(format!(
                "  {count:>7} × {what}: at most {longest:.1} s without an allocation"
            ));
        }
        lines.join("\n")
    }

    /// When allocations were acknowledged, in order.
    fn acknowledged(&self) -> Vec<u64> {
        let allocations = self.calls.iter();
        let allocations = allocations.filter(|call| matches!(call.answer, Answer::Allocated(_)));
        let mut times: Vec<u64> = allocations.map(|call| call.ended).collect();
        times.sort_unstable();
        times
    }
}

/// The longest time between two acknowledgements that a fault has a part of, in microseconds.
fn longest_gap(acknowledged: &[u64], fault: &Fault) -> u64 {
    let pairs = acknowledged.windows(2).map(|pair| (pair[0], pair[1]));
    let touched = pairs.filter(|(from, to)| *from < fault.ended && *to > fault.began);
    touched
        .map(|(from, to)| to - from)
        .max()
        .unwrap_or_default()
}
