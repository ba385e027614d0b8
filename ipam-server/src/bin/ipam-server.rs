//! The address service.

use std::process::ExitCode;

use clap::Parser;
use ipam_server::config::{Arguments, Command, Config};
use process::daemon;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const NAME: &str = "ipam-server";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Completion { shell }) = arguments.command {
        daemon::print_completion::<Arguments>(shell, NAME);
        return ExitCode::SUCCESS;
    }
    let config = match Config::settle(arguments) {
        Ok(config) => config,
        Err(error) => return daemon::fail(NAME, &error, ExitCode::from(2)),
    };
    daemon::run(NAME, config.log_format, config.log_level, || {
        ipam_server::serve::serve(config)
    })
}
