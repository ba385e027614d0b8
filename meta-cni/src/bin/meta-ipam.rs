//! The IPAM plugin that other CNI plugins execute.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use cni::error::{Code, ErrorObject};
use cni::key;
use cni::skel::{Command, Environment, Request};
use meta_cni::arguments::{MetaIpam, MetaIpamAction};
use meta_cni::{ipam, limits, verbs};
use serde_json::Value;

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        if let Some(MetaIpamAction::Completion { shell }) = MetaIpam::parse().command {
            clap_complete::generate(
                shell,
                &mut MetaIpam::command(),
                "meta-ipam",
                &mut io::stdout(),
            );
        }
        return ExitCode::SUCCESS;
    }
    let answer = match Environment::read(|name| std::env::var(name).ok()) {
        Ok(None) => {
            let version = env!("CARGO_PKG_VERSION");
            eprintln!(
                "meta-ipam {version}: a CNI IPAM plugin; CNI plugins execute it. Try --help."
            );
            return ExitCode::SUCCESS;
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

/// The most that one call may take, all of it.
const TIME: Duration = Duration::from_secs(110);

fn answer(env: Environment) -> Result<Option<Value>, ErrorObject> {
    if env.command == Command::Version {
        return Ok(Some(verbs::versions()));
    }
    process::limits::private_files();
    limits::begin(TIME);
    let request = Request::read(env, io::stdin().lock()).map_err(|error| error.to_object())?;
    if is_main_plugin(&request) && request.env.command != Command::Del {
        let object = ErrorObject::new(Code::INVALID_NETWORK_CONFIG, ipam::builtin::NOT_MAIN);
        return Err(object.in_version(request.version));
    }
    ipam::verbs::serve(&request)
}

/// Whether it was started as the plugin that the configuration is for, not as the IPAM plugin of another one.
fn is_main_plugin(request: &Request) -> bool {
    let program = std::env::args_os().next();
    let name = program
        .as_deref()
        .and_then(|path| Path::new(path).file_name());
    let kind = key::value_of(&request.conf, "type").and_then(Value::as_str);
    name.is_some() && name.and_then(|name| name.to_str()) == kind
}

/// Writes the answer; the exit status reports a plugin that does not read it.
fn print(answer: &impl serde::Serialize, status: ExitCode) -> ExitCode {
    let bytes = serde_json::to_vec(answer).map_err(io::Error::from);
    match bytes.and_then(|bytes| io::stdout().lock().write_all(&bytes)) {
        Ok(()) => status,
        Err(error) => {
            eprintln!("meta-ipam: writing the answer to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}
