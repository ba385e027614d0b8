//! `ipamctl export`: everything at one revision, as JSON lines.

mod target;

use std::path::{Path, PathBuf};

use proto::ipam::v1::export_item::Item;
use proto::ipam::v1::{ExportHeader, ExportItem, ExportRequest};

use super::error::CliError;
use super::note::note;
use super::out::Out;
use super::progress::bar;
use super::remote::Remote;
use ipam_server::store::salvage::salvage;
use target::Target;

/// Writes all pools, reservations and leases at one revision: one JSON object a line, a header first.
///
/// `ipamctl import` imports it again. The file exists only when the export is whole.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ipamctl export -f backup.jsonl\n  ipamctl export | gzip > backup.jsonl.gz\n  ipamctl export --offline /var/lib/ipam-server -f saved.jsonl"
)]
pub(crate) struct ExportArgs {
    /// File to write. [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Folder of a sled store that no server has open: exports everything in the store that can be read, whatever else is
    /// damaged, and writes nothing to the store. Exit code 1 if something could not be read.
    #[arg(long, value_name = "DIR")]
    offline: Option<PathBuf>,

    /// Folder for a copy of sled's files, with room for these files; used for a damaged store only. [default: the
    /// system's temporary folder]
    #[arg(long, value_name = "DIR", requires = "offline")]
    scratch_dir: Option<PathBuf>,
}

pub(crate) async fn run(args: ExportArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let mut target = Target::open(args.file, out)?;
    if let Some(folder) = &args.offline {
        let scratch = args.scratch_dir.unwrap_or_else(std::env::temp_dir);
        let lost = offline(folder, &scratch, &mut target)?;
        target.finish()?;
        return complete(&lost);
    }
    let written = tokio::select! {
        written = online(remote, &mut target) => written,
        _ = tokio::signal::ctrl_c() => Err(CliError::Incomplete {
            what: "interrupted, the export is not whole".to_owned(),
        }),
    };
    let count = written?;
    if let Some(path) = target.finish()? {
        note(&format!("{count} items are in {}", path.display()));
    }
    Ok(())
}

async fn online(remote: &Remote, target: &mut Target<'_>) -> Result<u64, CliError> {
    // Without a deadline: it would end the stream.
    let mut client = remote.admin().await?;
    let mut stream = remote
        .answer(client.export(remote.stream(ExportRequest {})))
        .await?;
    let cut_off = || CliError::CutOff {
        server: remote.name().to_owned(),
        what: "the export",
    };
    let mut expected = None;
    let mut count = 0;
    let progress = bar("export", Some(0));
    while let Some(item) = remote.message(&mut stream).await? {
        match &item.item {
            Some(Item::Header(header)) => {
                let total = items(header);
                progress.set_length(total);
                expected = Some(total);
            }
            _ => count += 1,
        }
        line(&item, target)?;
        progress.set_position(count);
    }
    progress.finish_and_clear();
    match expected {
        Some(expected) if expected == count => Ok(count),
        _ => Err(cut_off()),
    }
}

/// Writes what can be read of a store; returns what cannot.
fn offline(
    folder: &Path,
    scratch: &Path,
    target: &mut Target<'_>,
) -> Result<Vec<String>, CliError> {
    let mut written = Ok(());
    let mut count = 0_u64;
    let lost = salvage(folder, scratch, |item| {
        if written.is_ok() {
            written = line(&item, target);
            count += 1;
        }
    });
    let lost = lost.map_err(CliError::Store)?;
    written?;
    note(&format!("{count} items were saved"));
    Ok(lost)
}

fn complete(lost: &[String]) -> Result<(), CliError> {
    for what in lost {
        note(what);
    }
    if lost.is_empty() {
        return Ok(());
    }
    Err(CliError::Incomplete {
        what: format!("{} parts of the store could not be read", lost.len()),
    })
}

fn items(header: &ExportHeader) -> u64 {
    header
        .pools
        .saturating_add(header.reservations)
        .saturating_add(header.leases)
}

fn line(item: &ExportItem, target: &mut Target<'_>) -> Result<(), CliError> {
    let mut line = serde_json::to_string(item).map_err(CliError::Encode)?;
    line.push('\n');
    target.write(&line)
}
