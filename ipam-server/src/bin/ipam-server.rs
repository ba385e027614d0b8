//! The address service.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use ipam_server::config::{Arguments, Command, Config, LogFormat};
use ipam_server::server;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long what was cut off may hold up the end.
const DROPPED: Duration = Duration::from_secs(1);

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
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref(), ExitCode::FAILURE),
    }
}

fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (stop, stopping) = watch::channel(false);
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut server = Box::pin(server::run(config, stopping));
        let mut signals = 0;
        loop {
            tokio::select! {
                ended = &mut server => return ended.map_err(Box::<dyn Error>::from),
                _ = terminate.recv() => signals += 1,
                _ = interrupt.recv() => signals += 1,
            }
            stop.send_replace(true);
            if signals > 1 {
                return Err("ended at once by a second signal".into());
            }
        }
    });
    // What was cut off is dropped, and its sockets' files with it.
    runtime.shutdown_timeout(DROPPED);
    ended
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
