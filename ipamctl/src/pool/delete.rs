//! `ipamctl pool delete`.

use proto::ipam::v1::DeletePoolRequest;

use super::read::get;
use crate::confirm::confirm;
use crate::error::CliError;
use crate::note::{note, note_dry_run};
use crate::remote::Remote;

/// Removes pools that have no leases. Asks first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ipamctl pool delete blue --yes")]
pub(crate) struct DeleteArgs {
    /// The pools' names.
    #[arg(required = true)]
    name: Vec<String>,
    /// Does not ask for confirmation.
    #[arg(short, long)]
    yes: bool,
    /// Only checks and shows what would be done; changes nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: DeleteArgs, remote: &Remote) -> Result<(), CliError> {
    let mut client = remote.pools().await?;
    for name in args.name {
        let etag = get(remote, name.clone()).await?.etag;
        confirm(args.yes || args.dry_run, &format!("Delete pool {name}?")).await?;
        let request = remote.request(DeletePoolRequest {
            name: name.clone(),
            etag,
            validate_only: args.dry_run,
        });
        remote.answer(client.delete_pool(request)).await?;
        match args.dry_run {
            true => note(&format!("pool {name} could be deleted")),
            false => note(&format!("pool {name} is deleted")),
        }
    }
    note_dry_run(args.dry_run);
    Ok(())
}
