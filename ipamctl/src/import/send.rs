//! Items on their way to the server, in batches, and what became of them.

use std::time::Duration;

use futures_util::StreamExt;
use indicatif::ProgressBar;
use proto::ipam::v1::{ExportItem, ImportRequest, ImportResponse};
use serde::{Serialize, Serializer};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, error::SendTimeoutError};
use tokio_stream::wrappers::ReceiverStream;

use crate::error::CliError;
use crate::note::{note, note_dry_run};
use crate::out::{Column, Out};
use crate::progress::bar;
use crate::remote::Remote;
use ipam_server::page::Page;

/// Items that `ipam.v1` takes in a message at most.
const BATCH: usize = 1000;

/// Batches that are read ahead of the network.
const AHEAD: usize = 2;

/// Sentences about entries that are written in full.
const DETAILS: usize = 100;

/// What was read beside the items.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// A sentence, with its place, for each entry that is not among the items. They count as conflicts do.
    pub(super) problems: Vec<String>,
    /// Sentences that a person should read.
    pub(super) notes: Vec<String>,
    /// Leases of an earlier import that ended.
    pub(super) released: u64,
}

/// What an import did.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(skip_serializing_if = "is_zero", serialize_with = "as_text")]
    imported: u64,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "as_text")]
    unchanged: u64,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "as_text")]
    released: u64,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "as_text")]
    conflicts: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conflict_details: Vec<String>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The form of a 64-bit number in the JSON of protobuf.
fn as_text<S: Serializer>(count: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(count)
}

const COLUMNS: &[Column<Outcome>] = &[
    Column {
        heading: "IMPORTED",
        wide: false,
        cell: |at, _| at.imported.to_string(),
    },
    Column {
        heading: "UNCHANGED",
        wide: false,
        cell: |at, _| at.unchanged.to_string(),
    },
    Column {
        heading: "RELEASED",
        wide: false,
        cell: |at, _| at.released.to_string(),
    },
    Column {
        heading: "CONFLICTS",
        wide: false,
        cell: |at, _| at.conflicts.to_string(),
    },
];

/// Sends everything that can be read.
pub(super) async fn send(
    items: impl Iterator<Item = Result<ExportItem, CliError>> + Send + 'static,
    total: Option<u64>,
    dry_run: bool,
    mut beside: Beside,
    remote: &Remote,
    out: &mut Out,
) -> Result<(), CliError> {
    let mut client = remote.admin().await?;
    let progress = bar("import", total);
    let (batches, taken) = mpsc::channel(AHEAD);
    let batches = Batches {
        batches,
        limit: remote.timeout(),
        runtime: Handle::current(),
        progress: progress.clone(),
        validate_only: dry_run,
    };
    // Reading a file blocks, and its end is the end of the stream.
    let mut reading = tokio::task::spawn_blocking(move || read(items, &batches));
    let call = client.import(remote.stream(ReceiverStream::new(taken).fuse()));
    tokio::pin!(call);
    // The input may be as slow as it likes; the server may not.
    let answered = tokio::select! {
        answer = &mut call => Ok(answer),
        read = &mut reading => Err(read.unwrap_or_default()),
    };
    let (answer, read) = match answered {
        Ok(Err(status)) => return Err(remote.failure(&status)),
        // The stream has ended, and the reading with it.
        Ok(answer) => (answer, reading.await.unwrap_or_default()),
        Err(read) if read.is_late => return Err(remote.late()),
        Err(read) => match tokio::time::timeout(remote.timeout(), call).await {
            Ok(answer) => (answer, read),
            Err(_) => return Err(remote.late()),
        },
    };
    progress.finish_and_clear();
    let answer = answer
        .map_err(|status| remote.failure(&status))?
        .into_inner();
    beside.problems.extend(read.problems);
    let outcome = outcome(&answer, &beside);
    write(&outcome, &beside.notes, dry_run, out)?;
    read.end?;
    match outcome.conflicts {
        0 => Ok(()),
        1 => Err(CliError::Incomplete {
            what: "1 item is not imported".to_owned(),
        }),
        count => Err(CliError::Incomplete {
            what: format!("{count} items are not imported"),
        }),
    }
}

fn outcome(answer: &ImportResponse, beside: &Beside) -> Outcome {
    let details = beside.problems.iter().chain(&answer.conflict_details);
    Outcome {
        imported: answer.imported,
        unchanged: answer.unchanged,
        released: beside.released,
        conflicts: answer.conflicts + beside.problems.len() as u64,
        conflict_details: details.take(DETAILS).cloned().collect(),
    }
}

/// How reading ended.
struct Read {
    /// A sentence for each entry that was left out.
    problems: Vec<String>,
    /// What kept the rest from being read, if anything did.
    end: Result<(), CliError>,
    /// Whether the server did not take a batch in time.
    is_late: bool,
}

impl Default for Read {
    fn default() -> Read {
        Read {
            problems: Vec::new(),
            end: Ok(()),
            is_late: false,
        }
    }
}

/// Where batches go.
struct Batches {
    batches: mpsc::Sender<ImportRequest>,
    /// How long the server may take for a batch.
    limit: Duration,
    runtime: Handle,
    progress: ProgressBar,
    validate_only: bool,
}

impl Batches {
    /// Sends a batch, from a thread that may block.
    ///
    /// # Errors
    /// The call has ended, or the server does not take the batch in time.
    fn send(&self, batch: Page<ExportItem>) -> Result<(), SendTimeoutError<()>> {
        let items = batch.into_entries();
        self.progress.inc(items.len() as u64);
        let request = ImportRequest {
            items,
            validate_only: self.validate_only,
        };
        let sent = self.batches.send_timeout(request, self.limit);
        self.runtime.block_on(sent).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => SendTimeoutError::Timeout(()),
            SendTimeoutError::Closed(_) => SendTimeoutError::Closed(()),
        })
    }
}

/// An entry that makes no sense is left out; what cannot be read at all is the end.
fn read(items: impl Iterator<Item = Result<ExportItem, CliError>>, batches: &Batches) -> Read {
    let mut batch = Page::new(BATCH);
    let mut read = Read::default();
    for item in items {
        let item = match item {
            Ok(item) => item,
            Err(error @ CliError::Content { .. }) => {
                read.problems.push(error.to_string());
                continue;
            }
            Err(error) => {
                read.end = Err(error);
                break;
            }
        };
        if let Err(item) = batch.push(item) {
            let full = std::mem::replace(&mut batch, Page::new(BATCH));
            batch.fill(item);
            if let Err(error) = batches.send(full) {
                // If the call has ended, its status says why.
                read.is_late = matches!(error, SendTimeoutError::Timeout(()));
                return read;
            }
        }
    }
    if batch.room() < BATCH {
        // As above.
        let sent = batches.send(batch);
        read.is_late = matches!(sent, Err(SendTimeoutError::Timeout(())));
    }
    read
}

fn write(
    outcome: &Outcome,
    notes: &[String],
    dry_run: bool,
    out: &mut Out,
) -> Result<(), CliError> {
    out.one(COLUMNS, outcome)?;
    out.flush()?;
    for sentence in notes.iter().chain(&outcome.conflict_details) {
        note(sentence);
    }
    let written = outcome.conflict_details.len() as u64;
    if outcome.conflicts > written {
        note(&format!("… and {} more", outcome.conflicts - written));
    }
    note_dry_run(dry_run);
    Ok(())
}
