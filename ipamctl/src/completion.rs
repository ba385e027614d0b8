//! `ipamctl completion`: what a shell needs to complete commands and flags.

use clap_complete::Shell;

use super::error::CliError;
use super::out::Out;

/// Writes a completion script to stdout.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  ipamctl completion bash > /etc/bash_completion.d/ipamctl\n  source <(ipamctl completion zsh)"
)]
pub(crate) struct CompletionArgs {
    /// For which shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(
    args: CompletionArgs,
    mut commands: clap::Command,
    out: &mut Out,
) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut commands, "ipamctl", &mut script);
    out.text(&String::from_utf8_lossy(&script))
}
