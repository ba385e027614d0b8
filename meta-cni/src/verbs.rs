//! The verbs of CNI, each a list of named steps over the other modules.

mod add;
mod check;
mod context;
mod del;
mod failure;
mod gc;
mod orphans;
mod report;
mod status;

use serde_json::{Value, json};

use crate::cni::error::ErrorObject;
use crate::cni::skel::{Command, Request};
use crate::cni::version::Version;
use context::Context;
pub use orphans::collect_later;

/// Serves one request and gives what goes to standard output, if anything does.
///
/// # Errors
/// The error object for standard output; the exit status is then 1.
pub fn serve(request: &Request) -> Result<Option<Value>, ErrorObject> {
    if request.env.command == Command::Version {
        return Ok(Some(versions()));
    }
    let served = Context::new(request).and_then(|context| match request.env.command {
        Command::Add => add::add(&context).map(Some),
        Command::Del => del::del(&context).map(|()| None),
        Command::Check => check::check(&context).map(|()| None),
        Command::Status => status::status(&context).map(|()| None),
        Command::Gc => gc::gc(&context).map(|()| None),
        Command::Version => Ok(Some(versions())),
    });
    served.map_err(|failure| {
        let object = failure.to_object(request);
        tracing::error!(
            code = object.code.0,
            details = object.details,
            "{}",
            object.msg
        );
        object
    })
}

/// Deletes the sandboxes that the agent found to be gone. What fails is told in the log and stays marked.
///
/// # Errors
/// The error object of what failed.
pub fn collect_orphans(request: &Request) -> Result<(), ErrorObject> {
    Context::new(request)
        .and_then(|context| gc::collect_orphans(&context))
        .map_err(|failure| {
            let object = failure.to_object(request);
            tracing::error!(code = object.code.0, "{}", object.msg);
            object
        })
}

/// The answer to VERSION.
pub fn versions() -> Value {
    json!({"cniVersion": Version::LATEST, "supportedVersions": Version::ALL})
}
