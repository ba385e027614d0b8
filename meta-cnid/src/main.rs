//! The agent of a node.

use std::process::ExitCode;

use clap::Parser;
use meta_cnid::config::{Action, Arguments};
use process::daemon;

const NAME: &str = "meta-cnid";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Action::Completion { shell }) = arguments.command {
        daemon::print_completion::<Arguments>(shell, NAME);
        return ExitCode::SUCCESS;
    }
    daemon::run(NAME, arguments.log_format, arguments.log_level, || {
        meta_cnid::serve(arguments)
    })
}
