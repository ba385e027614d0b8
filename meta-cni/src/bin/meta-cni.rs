//! The plugin that container runtimes execute.

use std::io::{self, Write};
use std::panic::catch_unwind;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cni::error::{Code, ErrorObject, with_causes};
use cni::skel::{Command, Environment, Request};
use meta_cni::arguments::{Action, MetaCni};
use meta_cni::delegates::DELEGATE_MARK;
use meta_cni::install::{InstallError, Outcome};
use meta_cni::{called_as, doctor, explain, install, list_plugins, migrate, verbs};
use serde_json::Value;

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        return run_by_a_person(&MetaCni::parse());
    }
    let answer = match Environment::read(|name| std::env::var(name).ok()) {
        Ok(None) => return introduce(),
        Ok(Some(env)) if let Some(kind) = called_as::kind() => {
            return match called_as::serve(kind, &env) {
                Ok(answer) => write(&answer, ExitCode::SUCCESS),
                Err(object) => print(&object, ExitCode::FAILURE),
            };
        }
        Ok(Some(env)) => answer(env),
        Err(error) => Err(error.to_object()),
    };
    match answer {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(result)) => print(&result, ExitCode::SUCCESS),
        Err(object) => print(&object, ExitCode::FAILURE),
    }
}

fn answer(env: Environment) -> Result<Option<Value>, ErrorObject> {
    if env.command == Command::Version {
        return Ok(Some(verbs::versions()));
    }
    if std::env::var_os(DELEGATE_MARK).is_some() {
        let msg = "meta-cni is not a delegate: a network's configuration made another plugin execute it; \
                   name the plugin itself in the NetworkAttachmentDefinition";
        return Err(ErrorObject::new(Code::INVALID_NETWORK_CONFIG, msg));
    }
    let request = Request::read(env, io::stdin().lock()).map_err(|error| error.to_object())?;
    let answer = catch_unwind(|| verbs::serve(&request)).unwrap_or_else(|_| {
        let msg = "meta-cni came upon a fault of its own; its standard error has the place. Please report it";
        Err(ErrorObject::new(Code::INTERNAL, msg).in_version(request.version))
    });
    verbs::collect_later(&request);
    answer
}

/// What [`verbs::collect_later`] started, with nobody waiting.
fn collect_orphans() -> ExitCode {
    let read = Environment::read(|name| std::env::var(name).ok());
    let request = read.and_then(|env| {
        env.map(|env| Request::read(env, io::stdin().lock()))
            .transpose()
    });
    match request {
        Ok(Some(request)) => match verbs::collect_orphans(&request) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Ok(None) => {
            eprintln!("meta-cni: the CNI variables must be set, CNI_COMMAND to GC");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("meta-cni: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the answer; the exit status reports a runtime that does not read it.
fn print(answer: &impl serde::Serialize, status: ExitCode) -> ExitCode {
    match serde_json::to_vec(answer) {
        Ok(bytes) => write(&bytes, status),
        Err(error) => unwritten(&error.into()),
    }
}

fn write(answer: &[u8], status: ExitCode) -> ExitCode {
    match io::stdout().lock().write_all(answer) {
        Ok(()) => status,
        Err(error) => unwritten(&error),
    }
}

fn unwritten(error: &io::Error) -> ExitCode {
    eprintln!("meta-cni: writing the answer to standard output: {error}");
    ExitCode::FAILURE
}

fn run_by_a_person(arguments: &MetaCni) -> ExitCode {
    match &arguments.command {
        Some(Action::Doctor(options)) => examine(options),
        Some(Action::Explain(options)) => explain(options),
        Some(Action::Plugins(options)) => {
            match list_plugins::run(options, &mut io::stdout().lock()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => unwritten(&error),
            }
        }
        Some(Action::Install(options)) => match install::run(options, &mut io::stdout().lock()) {
            Ok(Outcome::Done) => ExitCode::SUCCESS,
            Ok(Outcome::Missing) => ExitCode::FAILURE,
            Err(error) => not_installed(&error),
        },
        Some(Action::Uninstall(options)) => {
            match install::uninstall(options, &mut io::stdout().lock()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => not_installed(&error),
            }
        }
        Some(Action::Migrate(options)) => migrate(options),
        Some(Action::Completion { shell }) => {
            clap_complete::generate(
                *shell,
                &mut MetaCni::command(),
                "meta-cni",
                &mut io::stdout(),
            );
            ExitCode::SUCCESS
        }
        Some(Action::CollectOrphans) => collect_orphans(),
        None => introduce(),
    }
}

/// `meta-cni doctor`.
fn examine(options: &doctor::Options) -> ExitCode {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("meta-cni: doctor reads what only root may read; run it with sudo");
        return ExitCode::from(2);
    }
    match doctor::run(options, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("meta-cni: writing the report to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `meta-cni explain`.
fn explain(options: &explain::Options) -> ExitCode {
    match explain::run(options, &mut io::stdout().lock(), &mut io::stderr()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            let what = options.what();
            eprintln!("meta-cni: nothing is known of {what}; does it run on this node?");
            ExitCode::from(3)
        }
        Err(error) => {
            eprintln!("meta-cni: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// `meta-cni migrate`.
fn migrate(options: &migrate::Options) -> ExitCode {
    match migrate::run(options, &mut io::stdout().lock()) {
        Ok(migrate::Outcome::Whole) => ExitCode::SUCCESS,
        Ok(migrate::Outcome::Partial) => ExitCode::from(3),
        Err(error) => {
            eprintln!("meta-cni: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// Why `meta-cni install` or `uninstall` failed.
fn not_installed(error: &InstallError) -> ExitCode {
    eprintln!("meta-cni: {}", with_causes(error));
    match error {
        InstallError::InVain { .. } => ExitCode::from(3),
        _ => ExitCode::FAILURE,
    }
}

/// What this is, for somebody who started it by hand.
fn introduce() -> ExitCode {
    eprintln!(
        "meta-cni {}: a CNI plugin for several networks a pod; container runtimes execute it. \
         Try --help.",
        env!("CARGO_PKG_VERSION")
    );
    ExitCode::SUCCESS
}
