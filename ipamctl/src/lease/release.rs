//! `ipamctl lease release`.

use proto::ipam::v1::ReleaseRequest;

use super::get::get;
use super::table::phrase;
use crate::confirm::confirm;
use crate::error::CliError;
use crate::note::{note, note_dry_run};
use crate::remote::Remote;

/// Releases leases. Asks first: a program that still uses an address has it together with the next holder.
///
/// A lease that changed between the question and the answer is left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ipamctl lease release l7 l8 --yes")]
pub(crate) struct ReleaseArgs {
    /// The leases' ids.
    #[arg(required = true)]
    id: Vec<String>,
    /// Does not ask for confirmation.
    #[arg(short, long)]
    yes: bool,
    /// Only checks and shows what would be done; changes nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: ReleaseArgs, remote: &Remote) -> Result<(), CliError> {
    let mut client = remote.leases().await?;
    for id in args.id {
        let lease = get(remote, id).await?;
        let named = phrase(&lease);
        confirm(args.yes || args.dry_run, &format!("Release {named}?")).await?;
        let request = remote.request(ReleaseRequest {
            id: lease.id,
            generation: lease.generation,
            validate_only: args.dry_run,
        });
        remote.answer(client.release(request)).await?;
        match args.dry_run {
            true => note(&format!("{named} could be released")),
            false => note(&format!("{named} is released")),
        }
    }
    note_dry_run(args.dry_run);
    Ok(())
}
