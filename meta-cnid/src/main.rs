//! The agent of a node.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cni::error::with_causes;
use meta_cnid::config::{Action, Arguments};
use process::log::Log;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Action::Completion { shell }) = arguments.command {
        clap_complete::generate(
            shell,
            &mut Arguments::command(),
            "meta-cnid",
            &mut std::io::stdout(),
        );
        return ExitCode::SUCCESS;
    }
    let log = match Log::to_stderr() {
        Ok(log) => log,
        Err(error) => {
            eprintln!("meta-cnid: starting the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    process::daemon::start_log(arguments.log_format, arguments.log_level, &log);
    process::limits::begin();
    let served = meta_cnid::serve(arguments);
    drop(log);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meta-cnid: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}
