//! `ipamctl top`: how full the pools are, and how fast leases come and go.

mod draw;
mod screen;
mod snapshot;

use std::time::Duration;

use jiff::Timestamp;

use super::error::CliError;
use super::listing::Listing;
use super::out::Out;
use super::remote::Remote;
use snapshot::Snapshot;

/// Shows how full each pool is by family and state, full-screen, until q or Ctrl-C.
///
/// Keys: n, u, f sort by name, use, free; r turns the order around; arrows scroll; q quits. Without a terminal
/// one snapshot is written as text.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ipamctl top --interval-seconds 2\n  ipamctl top | cat")]
pub(crate) struct TopArgs {
    /// Time between two polls of the server, in seconds.
    #[arg(long, default_value_t = 1, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval_seconds: u64,
}

pub(crate) async fn run(args: TopArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    if out.is_terminal() && !out.is_for_programs() {
        let interval = Duration::from_secs(args.interval_seconds);
        return screen::run(remote, interval, out.has_colours()).await;
    }
    let now = snapshot::take(remote).await?;
    once(&now, out)
}

fn once(now: &Snapshot, out: &mut Out) -> Result<(), CliError> {
    if out.is_for_programs() {
        let mut listing = Listing::new(out, "pools", super::pool::COLUMNS);
        listing.page(&now.pools)?;
        return listing.finish().map(drop);
    }
    out.text(&format!("{}\n\n", draw::headline(now, None)))?;
    let rows = now.rows(None);
    let rows: Vec<_> = rows.iter().collect();
    let text = out.table(snapshot::COLUMNS).page(&rows, Timestamp::now());
    out.text(&text)
}
