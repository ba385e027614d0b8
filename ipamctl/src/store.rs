//! `ipamctl store`: stores themselves, without their servers.

mod copy;

use clap::Subcommand;

use super::error::CliError;
use super::out::Out;

/// Works on stores that no server has open.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  ipamctl store copy --help")]
pub(crate) enum StoreCommand {
    Copy(copy::CopyArgs),
}

pub(crate) async fn run(command: StoreCommand, out: &mut Out) -> Result<(), CliError> {
    match command {
        StoreCommand::Copy(args) => copy::run(args, out).await,
    }
}
