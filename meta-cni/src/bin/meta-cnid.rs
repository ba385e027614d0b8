//! The agent of a node.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use meta_cni::agent;
use meta_cni::agent::config::{Action, Arguments, LogFormat};
use meta_cni::cni::error::with_causes;

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
    start_log(&arguments);
    match agent::serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meta-cnid: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn start_log(arguments: &Arguments) {
    let log = tracing_subscriber::fmt()
        .with_max_level(arguments.log_level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
