//! Items on their way to the server, in batches, and what it says of them.

use futures_util::StreamExt;
use indicatif::ProgressBar;
use proto::ipam::v1::{ExportItem, ImportRequest, ImportResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::cli::error::CliError;
use crate::cli::out::{Column, Out, note};
use crate::cli::progress::bar;
use crate::cli::remote::Remote;

/// The most that `ipam.v1` takes in a message.
const BATCH: usize = 1000;

/// Batches that are read ahead of the network.
const AHEAD: usize = 2;

const COLUMNS: &[Column<ImportResponse>] = &[
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
        heading: "CONFLICTS",
        wide: false,
        cell: |at, _| at.conflicts.to_string(),
    },
];

/// Sends everything. `left_out` are sentences about what is not among the items: they are told, and count as
/// conflicts do.
pub(super) async fn send(
    items: impl Iterator<Item = Result<ExportItem, CliError>> + Send + 'static,
    total: Option<u64>,
    dry_run: bool,
    left_out: &[String],
    remote: &Remote,
    out: &mut Out,
) -> Result<(), CliError> {
    let mut client = remote.admin().await?;
    let progress = bar("import", total);
    let (give, batches) = mpsc::channel(AHEAD);
    let shown = progress.clone();
    // Reading a file blocks, and its end is the end of the stream.
    let reading = tokio::task::spawn_blocking(move || read(items, dry_run, &give, &shown));
    let answer = client.import(ReceiverStream::new(batches).fuse()).await;
    progress.finish_and_clear();
    let answer = answer
        .map_err(|status| remote.failure(&status))?
        .into_inner();
    // After an answer it is at its end: the stream was.
    let read = reading.await.unwrap_or(Ok(()));
    tell(&answer, left_out, dry_run, out)?;
    read?;
    match answer.conflicts as usize + left_out.len() {
        0 => Ok(()),
        1 => Err(CliError::Incomplete {
            what: "1 item is not imported".to_owned(),
        }),
        count => Err(CliError::Incomplete {
            what: format!("{count} items are not imported"),
        }),
    }
}

fn read(
    items: impl Iterator<Item = Result<ExportItem, CliError>>,
    validate_only: bool,
    give: &mpsc::Sender<ImportRequest>,
    progress: &ProgressBar,
) -> Result<(), CliError> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut wrong = Ok(());
    for item in items {
        match item {
            Ok(item) => batch.push(item),
            Err(error) => {
                wrong = Err(error);
                break;
            }
        }
        if batch.len() == BATCH {
            let items = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if give
                .blocking_send(ImportRequest {
                    items,
                    validate_only,
                })
                .is_err()
            {
                // The call has ended; its status says why.
                return Ok(());
            }
            progress.inc(BATCH as u64);
        }
    }
    if !batch.is_empty() {
        progress.inc(batch.len() as u64);
        // As above.
        let _ = give.blocking_send(ImportRequest {
            items: batch,
            validate_only,
        });
    }
    wrong
}

fn tell(
    answer: &ImportResponse,
    left_out: &[String],
    dry_run: bool,
    out: &mut Out,
) -> Result<(), CliError> {
    out.one(COLUMNS, answer)?;
    out.flush()?;
    for sentence in left_out.iter().chain(&answer.conflict_details) {
        note(sentence);
    }
    let told = answer.conflict_details.len() as u64;
    if answer.conflicts > told {
        note(&format!("… and {} more conflicts", answer.conflicts - told));
    }
    if dry_run {
        note("nothing was changed (--dry-run)");
    }
    Ok(())
}
