//! The address service.

use std::error::Error;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use ipam_server::config::{Arguments, Command, Config, LogFormat};
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
    start_log(&config);
    match process::serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, ExitCode::FAILURE),
    }
}

fn start_log(config: &Config) {
    let log = tracing_subscriber::fmt()
        .with_max_level(config.log_level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
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
