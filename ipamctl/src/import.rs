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

/// Imports an export. An existing item with the same content is left alone, so an import can be repeated at any point.
///
/// Items are written in batches of 1000, each durable by itself. A line that cannot be read, and an item that an existing
/// item contradicts, are reported on stderr and left out. Exit code 1 if a line or an item was left out.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    from: Option<From>,
    /// File of `ipamctl export`; - reads stdin.
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
    /// Only shows what would be done; changes nothing.
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
