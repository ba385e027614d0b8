//! The agent of a node.

use std::error::Error;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use meta_cni::agent;
use meta_cni::agent::config::{Action, Arguments, LogFormat};
use meta_cni::cni::error::with_causes;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

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
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meta-cnid: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// On one thread: the agent waits more than it computes, and each thread costs memory.
fn serve(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (stop, stopping) = watch::channel(false);
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut agent = Box::pin(agent::run(arguments, stopping));
        let mut signals = 0;
        loop {
            tokio::select! {
                ended = &mut agent => return ended.map_err(Box::<dyn Error>::from),
                _ = terminate.recv() => signals += 1,
                _ = interrupt.recv() => signals += 1,
            }
            stop.send_replace(true);
            if signals > 1 {
                return Err("ended at once by a second signal".into());
            }
        }
    });
    runtime.shutdown_background();
    ended
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
