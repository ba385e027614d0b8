//! `ipamctl pool …`.

mod create;
mod delete;
mod edit;
pub(crate) mod file;
mod flags;
mod read;
mod table;

use clap::Subcommand;
use proto::ipam::v1::{CordonPoolRequest, UncordonPoolRequest};

use super::error::CliError;
use super::listing::Listing;
use super::out::Out;
use super::remote::Remote;
pub(crate) use flags::Families;
pub(crate) use read::{all, get};
pub(crate) use table::{COLUMNS, Counts, number};

/// Pools: the addresses that leases are allocated from.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  ipamctl pool list -o wide")]
pub(crate) enum PoolCommand {
    Create(create::CreateArgs),
    Get(GetArgs),
    List(ListArgs),
    Edit(edit::EditArgs),
    Cordon(CordonArgs),
    Delete(delete::DeleteArgs),
}

/// Shows one pool with its counts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ipamctl pool get blue -o yaml")]
pub(crate) struct GetArgs {
    /// The pool's name.
    name: String,
}

/// Shows all pools with their counts, in order of name.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ipamctl pool list --filter 'vrf=\"blue\" AND state=ACTIVE'")]
pub(crate) struct ListArgs {
    /// Terms joined by AND, of name, vrf, state and labels.KEY; = or !=; a value may end in *. [default: all]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TERMS"
    )]
    filter: String,
}

/// Stops new leases of a pool; existing leases stay, and can be renewed and released.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ipamctl pool cordon blue\n  ipamctl pool cordon --undo blue")]
pub(crate) struct CordonArgs {
    /// The pool's name.
    name: String,
    /// Allows new leases of the pool again.
    #[arg(long)]
    undo: bool,
}

pub(crate) async fn run(
    command: PoolCommand,
    remote: &Remote,
    out: &mut Out,
) -> Result<(), CliError> {
    match command {
        PoolCommand::Create(args) => create::run(args, remote, out).await,
        PoolCommand::Get(args) => out.one(COLUMNS, &get(remote, args.name).await?),
        PoolCommand::List(args) => list(args, remote, out).await,
        PoolCommand::Edit(args) => edit::run(args, remote, out).await,
        PoolCommand::Cordon(args) => cordon(args, remote, out).await,
        PoolCommand::Delete(args) => delete::run(args, remote).await,
    }
}

async fn list(args: ListArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let pools = all(remote, &args.filter).await?;
    let mut listing = Listing::new(out, "pools", COLUMNS);
    listing.page(&pools)?;
    listing.finish().map(drop)
}

async fn cordon(args: CordonArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let name = args.name;
    let mut client = remote.pools().await?;
    let pool = if args.undo {
        let request = remote.request(UncordonPoolRequest { name });
        remote.answer(client.uncordon_pool(request)).await?
    } else {
        let request = remote.request(CordonPoolRequest { name });
        remote.answer(client.cordon_pool(request)).await?
    };
    out.one(COLUMNS, &pool)
}
