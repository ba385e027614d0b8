//! `meta-cni explain`: what was asked for a pod, what was planned and done, and why it failed, from the records and the
//! journal of this node. Nothing else is asked, and nothing is changed.

mod remedy;
mod sandbox;
mod share;
mod text;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cni::error::with_causes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::journal::{Journal, JournalError, Secrets};
use crate::record::{RecordError, Records};
use sandbox::Sandbox;

/// Explain what became of a pod's networks, from what this node has on disk
///
/// The first line says how the pod is. Then comes what its annotations asked for, what was planned, every step with its
/// time, and, for what failed, what each plugin was given and answered. Secrets are left out. Run it as root on the node.
///
/// Exit status: 0 found, 1 failure, 2 wrong arguments, 3 nothing is known.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// A pod as NAME or NAMESPACE/NAME, or a container ID (of a sandbox), or its first characters
    #[arg(value_name = "POD|CONTAINER-ID")]
    what: String,
    /// The pod's namespace [default: any, if the name is in one only]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The folder of meta-cni's records (its key stateDir)
    #[arg(long, value_name = "DIR", default_value = "/var/lib/meta-cni")]
    state_dir: PathBuf,
    /// How it is written to standard output
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Format,
}

/// The form of an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The records cannot be read.
    #[error("{}", not_allowed(.0).unwrap_or("the records of this node cannot be read"))]
    Record(#[source] RecordError),
    /// Several pods or containers are meant.
    #[error("{what:?} may be each of {}; say which", .meant.join(", "))]
    Ambiguous {
        /// What was asked.
        what: String,
        /// What it may mean.
        meant: Vec<String>,
    },
    /// Standard output cannot be written.
    #[error("writing to standard output")]
    Write(#[from] io::Error),
}

fn not_allowed(error: &RecordError) -> Option<&'static str> {
    match error {
        RecordError::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            Some("only root may see the records of this node: run it as root")
        }
        _ => None,
    }
}

/// Writes the explanation to `to`, and to `notes` what could not be read; false if nothing is known, which is then reported
/// nowhere.
///
/// # Errors
/// [`ExplainError`].
pub fn run(
    options: &Options,
    to: &mut impl Write,
    notes: &mut impl Write,
) -> Result<bool, ExplainError> {
    let records = Records::new(&options.state_dir);
    // First: it shows whether this process may read them at all.
    let ids = records.container_ids().map_err(ExplainError::Record)?;
    let journal = Journal::new(&options.state_dir);
    // The records suffice without the journal.
    let (operations, note) = match journal.recent() {
        Ok(operations) => (operations, None),
        Err(error) => (Vec::new(), Some(note_of(&error))),
    };
    if let Some(note) = &note {
        writeln!(notes, "meta-cni: {note}")?;
    }
    let all = sandbox::all(&records, ids, operations);
    let mut meant: Vec<Sandbox> = all.into_iter().filter(|one| options.means(one)).collect();
    let subjects: BTreeSet<String> = meant.iter().map(Sandbox::subject).collect();
    if subjects.len() > 1 {
        return Err(ExplainError::Ambiguous {
            what: options.what.clone(),
            meant: subjects.into_iter().collect(),
        });
    }
    meant.sort_by_key(|sandbox| std::cmp::Reverse(sandbox.newest()));
    let Some((sandbox, earlier)) = meant.split_first() else {
        return Ok(false);
    };
    let now = Timestamp::now();
    match options.output {
        // Texts of tenants and of plugins are in it: none of them steers a terminal.
        Format::Text => {
            let mut bytes = Vec::new();
            text::write(sandbox, earlier, now, &mut bytes)?;
            let text = String::from_utf8_lossy(&bytes);
            to.write_all(process::text::in_lines(&text).as_bytes())?;
        }
        Format::Json => {
            let json = to_json(sandbox, earlier, note, now);
            let json = serde_json::to_string_pretty(&json).map_err(io::Error::from)?;
            writeln!(to, "{}", process::text::in_json(&json))?;
        }
    }
    Ok(true)
}

impl Options {
    /// What was asked, for a message.
    pub fn what(&self) -> &str {
        &self.what
    }

    fn means(&self, sandbox: &Sandbox) -> bool {
        let (namespace, name) = match self.what.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (self.namespace.as_deref(), self.what.as_str()),
        };
        let is_pod = sandbox.pod.as_ref().is_some_and(|pod| {
            pod.name == name && namespace.is_none_or(|namespace| pod.namespace == namespace)
        });
        // Tools print the first 13 characters of an ID.
        let is_container = namespace.is_none()
            && (sandbox.container_id == name
                || name.len() >= 8 && sandbox.container_id.starts_with(name));
        is_pod || is_container
    }
}

fn note_of(error: &JournalError) -> String {
    let why = with_causes(error);
    format!("the record is shown, but not what was done: {why}")
}

fn to_json(sandbox: &Sandbox, earlier: &[Sandbox], note: Option<String>, now: Timestamp) -> Value {
    let mut value = json!({
        "summary": sandbox.summary(now),
        "remedy": sandbox.remedy(),
        "state": sandbox.state().as_str(),
        "note": note,
        "pod": sandbox.pod,
        "containerId": sandbox.container_id,
        "asked": sandbox.asked(),
        "record": sandbox.record.as_ref().ok().and_then(Option::as_ref),
        "operations": sandbox.operations,
        "earlier": earlier.iter().map(|one| json!({
            "containerId": one.container_id, "summary": one.summary(now)
        })).collect::<Vec<_>>(),
    });
    Secrets::default().hide(&mut value);
    value
}

#[cfg(test)]
mod tests;
