//! ipamctl: a client of `ipam.v1` for people and their scripts. One file a family of commands; what they share
//! is `remote` (the connection), `out` (stdout), `note` (stderr), `error` (what goes wrong, exit codes) and `time`.
//!
//! It speaks to a server by the contract only. Of the server's library it uses what both must agree on: the table of a
//! pool's fields, and the size of a message's page. `export --offline` opens a store by itself.

mod allocate;
mod check;
mod completion;
mod confirm;
mod error;
mod explain;
mod export;
mod history;
mod import;
mod labels;
mod lease;
mod listing;
mod note;
mod out;
mod pool;
mod progress;
mod refusal;
mod remote;
mod reservation;
mod server;
mod store;
mod time;
mod top;
mod whohas;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use error::CliError;
use out::{Format, Out};
use remote::{Remote, RemoteFlags};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  the arguments are wrong
  3  not found

Example:
  ipamctl whohas 10.20.0.7 --at '10m ago'";

/// Shows and changes what an ipam-server holds: pools, leases of IPv4/IPv6 pairs, reservations, history.
#[derive(Debug, Parser)]
#[command(name = "ipamctl", version, after_help = EXIT_CODES)]
struct Args {
    /// How results are written to stdout: for people (wide: more columns), or for programs.
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    output: Format,
    #[command(flatten)]
    remote: RemoteFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(subcommand)]
    Pool(pool::PoolCommand),
    #[command(subcommand)]
    Lease(lease::LeaseCommand),
    #[command(subcommand)]
    Reservation(reservation::ReservationCommand),
    Whohas(whohas::WhohasArgs),
    Explain(explain::ExplainArgs),
    History(history::HistoryArgs),
    Check(check::CheckArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Top(top::TopArgs),
    Server(server::ServerArgs),
    #[command(subcommand)]
    Store(store::StoreCommand),
    Completion(completion::CompletionArgs),
}

/// What a command line asks for.
#[derive(Debug)]
pub struct Invocation {
    args: Args,
    program: Program,
}

/// Under which name this program was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Ipamctl,
    Kubectl,
}

impl Program {
    fn of(argument: Option<&OsString>) -> Program {
        let stem = argument.and_then(|name| Path::new(name).file_stem());
        match stem.and_then(|name| name.to_str()) {
            Some(name) if name.starts_with("kubectl-ipam") || name.starts_with("kubectl_ipam") => {
                Program::Kubectl
            }
            _ => Program::Ipamctl,
        }
    }

    /// The commands, with help that calls them as they were called.
    fn commands(self) -> clap::Command {
        match self {
            Program::Ipamctl => Args::command().bin_name("ipamctl"),
            Program::Kubectl => renamed(Args::command()).bin_name("kubectl ipam"),
        }
    }
}

fn renamed(command: clap::Command) -> clap::Command {
    let shown = command
        .get_after_help()
        .map(|text| text.to_string().replace("ipamctl ", "kubectl ipam "));
    let command = match shown {
        Some(text) => command.after_help(text),
        None => command,
    };
    command.mut_subcommands(renamed)
}

/// The command line, as the book describes it.
pub fn command() -> clap::Command {
    Program::Ipamctl.commands()
}

/// Reads a command line; its first element is the name of the program.
///
/// # Errors
/// If it is not understood, and also for `--help` and `--version`: hand it to [`print()`].
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let program = Program::of(arguments.first());
    let matches = program.commands().try_get_matches_from(arguments)?;
    let args = Args::from_arg_matches(&matches)?;
    Ok(Invocation { args, program })
}

/// Writes help to stdout, or what is wrong with a command line to stderr. Exit code 0 or 2.
pub fn print(not_run: &clap::Error) -> ExitCode {
    // A reader that closed the pipe needs no help.
    let _ = not_run.print();
    ExitCode::from(if not_run.use_stderr() { 2 } else { 0 })
}

/// Runs a command line and returns the exit code: 0 done, 1 failed, 2 wrong arguments, 3 not found.
pub fn execute(invocation: Invocation) -> ExitCode {
    let mut out = Out::stdout(invocation.args.output);
    let done = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(CliError::Runtime)
        .and_then(|runtime| {
            let done = runtime.block_on(run(invocation, &mut out));
            // A thread that waits for a key or a line of stdin holds nobody up.
            runtime.shutdown_background();
            done
        });
    error::report(done.and_then(|()| out.flush()))
}

async fn run(invocation: Invocation, out: &mut Out) -> Result<(), CliError> {
    let remote = Remote::new(invocation.args.remote)?;
    match invocation.args.command {
        Command::Pool(command) => pool::run(command, &remote, out).await,
        Command::Lease(command) => lease::run(command, &remote, out).await,
        Command::Reservation(command) => reservation::run(command, &remote, out).await,
        Command::Whohas(args) => whohas::run(args, &remote, out).await,
        Command::Explain(args) => explain::run(args, &remote, out).await,
        Command::History(args) => history::run(args, &remote, out).await,
        Command::Check(_) => check::run(&remote, out).await,
        Command::Export(args) => export::run(args, &remote, out).await,
        Command::Import(args) => import::run(args, &remote, out).await,
        Command::Top(args) => top::run(args, &remote, out).await,
        Command::Server(_) => server::run(&remote, out).await,
        Command::Store(command) => store::run(command, out).await,
        Command::Completion(args) => completion::run(args, invocation.program.commands(), out),
    }
}

#[cfg(test)]
mod tests;
