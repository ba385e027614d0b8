//! `ipamctl lease …`.

mod change;
mod get;
pub(crate) mod list;
mod reclaim;
mod release;
pub(crate) mod table;
mod watch;

use clap::Subcommand;

use super::error::CliError;
use super::out::Out;
use super::remote::Remote;
use get::get;
pub(crate) use table::COLUMNS;

/// Leases: addresses, mostly IPv4/IPv6 pairs, and who holds them.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  ipamctl lease list --pool blue")]
pub(crate) enum LeaseCommand {
    List(list::ListArgs),
    Get(GetArgs),
    Watch(watch::WatchArgs),
    Release(release::ReleaseArgs),
    Reclaim(reclaim::ReclaimArgs),
    Allocate(change::AllocateArgs),
    Renew(change::RenewArgs),
}

/// Shows one lease.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ipamctl lease get l7 -o yaml")]
pub(crate) struct GetArgs {
    /// The lease's id.
    id: String,
}

pub(crate) async fn run(
    command: LeaseCommand,
    remote: &Remote,
    out: &mut Out,
) -> Result<(), CliError> {
    match command {
        LeaseCommand::List(args) => list::run(args, remote, out).await,
        LeaseCommand::Get(args) => out.one(COLUMNS, &get(remote, args.id).await?),
        LeaseCommand::Watch(args) => watch::run(args, remote, out).await,
        LeaseCommand::Release(args) => release::run(args, remote).await,
        LeaseCommand::Reclaim(args) => reclaim::run(args, remote, out).await,
        LeaseCommand::Allocate(args) => change::allocate(args, remote, out).await,
        LeaseCommand::Renew(args) => change::renew(args, remote, out).await,
    }
}
