//! One sandbox: its record, if it has one, what the journal has of it, and what that comes to.

use std::collections::BTreeMap;

use cni::error::with_causes;
use jiff::Timestamp;

use super::{remedy, share};
use crate::cluster::PodRef;
use crate::diagnosis::Explain;
use crate::journal::Operation;
use crate::record::{Phase, Record, RecordError, Records};
use crate::trace::words;

/// A sandbox of which something is known.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) container_id: String,
    pub(super) pod: Option<PodRef>,
    pub(super) record: Result<Option<Record>, RecordError>,
    /// When the record was written last.
    pub(super) written: Option<Timestamp>,
    /// What was done with it, the newest first.
    pub(super) operations: Vec<Operation>,
}

/// How a sandbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// All of its attachments were made.
    Attached,
    /// They were, but CHECK found something.
    Impaired,
    /// Its last ADD failed, and what it had made is gone.
    Failed,
    /// An ADD was begun, and did not end yet, or was killed.
    Unfinished,
    /// A DEL failed, or the undoing of an ADD, and is to be tried again.
    Undeleted,
    /// It was deleted.
    Deleted,
    /// It has a record that cannot be read.
    Unreadable,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            State::Attached => "attached",
            State::Impaired => "impaired",
            State::Failed => "failed",
            State::Unfinished => "unfinished",
            State::Undeleted => "undeleted",
            State::Deleted => "deleted",
            State::Unreadable => "unreadable",
        }
    }
}

/// All sandboxes of a node, from its records and its journal (the newest first).
pub(super) fn all(records: &Records, ids: Vec<String>, operations: Vec<Operation>) -> Vec<Sandbox> {
    let mut all: BTreeMap<String, Sandbox> = BTreeMap::new();
    for id in ids {
        let record = records.peek(&id);
        let written = records.written(&id).ok();
        let sandbox = Sandbox {
            pod: record
                .as_ref()
                .ok()
                .and_then(|record| record.as_ref()?.pod.clone()),
            container_id: id.clone(),
            record,
            written: written.and_then(|time| Timestamp::try_from(time).ok()),
            operations: Vec::new(),
        };
        all.insert(id, sandbox);
    }
    for operation in operations.into_iter().flat_map(share::of_each) {
        let id = &operation.container_id;
        let sandbox = all.entry(id.clone()).or_insert_with(|| Sandbox {
            container_id: id.clone(),
            pod: None,
            record: Ok(None),
            written: None,
            operations: Vec::new(),
        });
        if sandbox.pod.is_none() {
            sandbox.pod.clone_from(&operation.pod);
        }
        sandbox.operations.push(operation);
    }
    all.into_values().collect()
}

impl Sandbox {
    /// The pod, or else the container.
    pub(super) fn subject(&self) -> String {
        match &self.pod {
            Some(pod) => pod.to_string(),
            None => format!("container {}", self.container_id),
        }
    }

    /// When something was last begun with it: a DEL of an old sandbox does not make it newer than a later one.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        let added = self.last("ADD").map(|add| add.time);
        added.or(self.written)
    }

    pub(super) fn last(&self, command: &str) -> Option<&Operation> {
        self.operations.iter().find(|one| one.command == command)
    }

    /// What the pod's annotations asked for.
    pub(super) fn asked(&self) -> BTreeMap<String, String> {
        if let Ok(Some(record)) = &self.record {
            return record.asked.clone();
        }
        let steps = self.last("ADD").into_iter().flat_map(|add| &add.steps);
        let pod = steps.filter(|step| step.name == words::POD);
        pod.flat_map(|step| &step.fields)
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    }

    pub(super) fn state(&self) -> State {
        let newest = self.operations.first();
        match &self.record {
            Err(_) => State::Unreadable,
            Ok(Some(record)) => {
                if record
                    .attachments
                    .iter()
                    .any(|one| one.phase == Phase::Deleting)
                {
                    State::Undeleted
                } else if !record.is_complete() {
                    State::Unfinished
                } else if newest.is_some_and(|one| one.command == "CHECK" && !one.succeeded()) {
                    State::Impaired
                } else {
                    State::Attached
                }
            }
            // A runtime deletes what it could not add.
            Ok(None) => match self.last("ADD") {
                Some(add) if !add.succeeded() => State::Failed,
                _ => State::Deleted,
            },
        }
    }

    /// How it is, in one sentence.
    pub(super) fn summary(&self, now: Timestamp) -> String {
        let subject = self.subject();
        let failed_then = |what: &str, then: &str| match self.trouble() {
            Some(one) => {
                let link = remedy::missing_link(one).map(|link| format!(" ({link})"));
                let (ago, why) = (age(now, one.time), why(one));
                format!(
                    "{subject}: {what} {ago} ago{then}: {why}{}",
                    link.unwrap_or_default()
                )
            }
            None => format!("{subject}: {what}{then}; the journal does not go back that far"),
        };
        let failed = |what: &str| failed_then(what, "");
        let not_undone = || failed_then("ADD failed, and could not be undone", "; DEL tries again");
        match self.state() {
            State::Attached => {
                let at = self.last("ADD").map(|add| add.time).or(self.written);
                let since = at.map_or(String::new(), |at| format!(" {} ago", age(now, at)));
                format!("{subject}: attached{since}: {}", self.interfaces())
            }
            State::Impaired => failed("attached, but CHECK failed"),
            State::Failed => failed("ADD failed"),
            State::Undeleted => match self.trouble() {
                Some(one) if one.command == "ADD" => not_undone(),
                _ => failed_then("DEL failed", ", and is to be tried again"),
            },
            State::Unfinished => match self.trouble() {
                Some(_) => not_undone(),
                None => format!(
                    "{subject}: an ADD was begun{} and has not ended, or was killed; the runtime's next call undoes it",
                    self.written
                        .map_or(String::new(), |at| format!(" {} ago", age(now, at)))
                ),
            },
            State::Deleted => match self.operations.first() {
                Some(one) if one.succeeded() => {
                    format!(
                        "{subject}: deleted {} ago by {}",
                        age(now, one.time),
                        one.command
                    )
                }
                _ => failed("nothing is attached; the last call failed"),
            },
            State::Unreadable => {
                let why = self.record.as_ref().err().map(|error| with_causes(error));
                format!("{subject}: {}", why.unwrap_or_default())
            }
        }
    }

    /// The operation by whose failure it is as it is.
    fn trouble(&self) -> Option<&Operation> {
        let newest = self.operations.first();
        let operation = match self.state() {
            State::Attached | State::Unreadable => None,
            State::Impaired | State::Deleted => newest,
            State::Failed | State::Unfinished => self.last("ADD"),
            // CHECK of what is to be deleted fails, too.
            State::Undeleted => self
                .operations
                .iter()
                .find(|one| !one.succeeded() && one.command != "CHECK"),
        };
        operation.filter(|one| !one.succeeded())
    }

    /// What to do, if something is to be done.
    pub(super) fn remedy(&self) -> Option<String> {
        match self.state() {
            State::Unreadable => {
                let of_error = self.record.as_ref().err().and_then(Explain::remedy);
                let set_aside =
                    "delete the pod: DEL sets the record aside; meta-cni doctor names what is left";
                Some(of_error.unwrap_or_else(|| set_aside.to_owned()))
            }
            _ => remedy::of(self.trouble()?),
        }
    }

    fn interfaces(&self) -> String {
        let Ok(Some(record)) = &self.record else {
            return String::new();
        };
        let all = record.attachments.iter().map(|entry| {
            let ips = entry.result.iter().flat_map(|result| &result.ips);
            let ips: Vec<_> = ips.map(|ip| format!(" {}", ip.address)).collect();
            format!("{}{}", entry.attachment.ifname, ips.concat())
        });
        all.collect::<Vec<_>>().join(", ")
    }
}

/// Why an operation failed.
pub(super) fn why(operation: &Operation) -> &str {
    operation.error.as_deref().unwrap_or("no cause was noted")
}

/// How long ago something was, in one unit.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
