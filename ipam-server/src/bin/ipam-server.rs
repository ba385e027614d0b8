//! The address service.

use std::error::Error;
use std::process::ExitCode;

use ::process::limits;
use ::process::log::Log;
use clap::{CommandFactory, Parser};
use ipam_server::config::{Arguments, Command, Config};
use ipam_server::process;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Completion { shell }) = arguments.command {
        clap_complete::generate(
            shell,
            &mut Arguments::command(),
            "ipam-server",
            &mut std::io::stdout(),
        );
        return ExitCode::SUCCESS;
    }
    let config = match Config::settle(arguments) {
        Ok(config) => config,
        Err(error) => return fail(&error, ExitCode::from(2)),
    };
    let log = match Log::to_stderr() {
        Ok(log) => log,
        Err(error) => return fail(&error, ExitCode::FAILURE),
    };
    ::process::daemon::start_log(config.log_format, config.log_level, &log);
    limits::begin();
    let served = process::serve(config);
    drop(log);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, ExitCode::FAILURE),
    }
}

/// The error and its causes in one line.
fn fail(error: &dyn Error, status: ExitCode) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    eprintln!("ipam-server: {text}");
    status
}
