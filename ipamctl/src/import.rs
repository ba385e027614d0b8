//! `ipamctl import`: an export, or what another IPAM plugin holds.

mod held;
mod host_local;
mod lines;
mod ranges;
mod send;
mod settings;
mod source;
mod whereabouts;

use std::path::PathBuf;

use clap::Subcommand;

use super::error::CliError;
use super::out::Out;
use super::remote::Remote;

const EXAMPLES: &str = "\
Examples:
  ipamctl import backup.jsonl
  zcat backup.jsonl.gz | ipamctl import -
  ipamctl import host-local /var/lib/cni/networks/blue --pool blue --node n1 --dry-run
  kubectl get ippools.whereabouts.cni.cncf.io -A -o json | ipamctl import whereabouts - --pool-prefix wb-";

/// Takes in an export: what is there with the same content is left alone, so it can be repeated at any point.
///
/// Written in batches of 1000 items, each durable by itself. A line that makes no sense, and what is in the way of
/// something that is there, is written to stderr and left out. Exit code 1 if there was one.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    from: Option<From>,
    /// File of `ipamctl export`; - reads stdin.
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
    /// Tells what would be done, changes nothing.
    #[arg(long, global = true)]
    dry_run: bool,
}

#[derive(Debug, Subcommand)]
enum From {
    HostLocal(host_local::HostLocalArgs),
    Whereabouts(whereabouts::WhereaboutsArgs),
}

pub(crate) async fn run(args: ImportArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let dry_run = args.dry_run;
    match args.from {
        None => {
            let items = lines::open(args.file)?;
            send::send(items, None, dry_run, send::Beside::default(), remote, out).await
        }
        Some(From::HostLocal(args)) => host_local::run(args, dry_run, remote, out).await,
        Some(From::Whereabouts(args)) => whereabouts::run(args, dry_run, remote, out).await,
    }
}
