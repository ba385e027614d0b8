//! The verbs of CNI, each a list of named steps over the other modules.

mod add;
mod check;
mod context;
mod del;
mod failure;
mod gc;
mod orphans;
mod planning;
mod report;
mod status;

use cni::error::ErrorObject;
use cni::skel::{Command, Request};
use cni::version::Version;
use serde_json::{Value, json};

use crate::cluster::PodRef;
use crate::diagnosis::Explain as _;
use crate::journal::{self, Recording};
use crate::sweep;
use context::Context;
use failure::Failure;
pub use orphans::collect_later;

/// Serves one request and gives what goes to standard output, if anything does.
///
/// # Errors
/// The error object for standard output; the exit status is then 1.
pub fn serve(request: &Request) -> Result<Option<Value>, ErrorObject> {
    if request.env.command == Command::Version {
        return Ok(Some(versions()));
    }
    journaled(request, |context| match request.env.command {
        Command::Add => add::add(context).map(Some),
        Command::Del => swept(context, del::del).map(|()| None),
        Command::Check => check::check(context).map(|()| None),
        Command::Status => status::status(context).map(|()| None),
        Command::Gc => swept(context, gc::gc).map(|()| None),
        Command::Version => Ok(Some(versions())),
    })
}

/// Does `work`, and removes once a day what nobody else removes.
fn swept(
    context: &Context<'_>,
    work: impl FnOnce(&Context<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let done = work(context);
    let has_others = || !context.multus.container_ids().is_empty();
    sweep::daily(&context.config.state_dir, &context.records, has_others);
    done
}

/// Does `work`, and writes it to the journal and, if it failed, to the log.
fn journaled<T>(
    request: &Request,
    work: impl FnOnce(&Context<'_>) -> Result<T, Failure>,
) -> Result<T, ErrorObject> {
    let context = Context::new(request);
    let recording = Recording::begin(&request.env, PodRef::named_by(&request.env.args));
    let done = recording
        .span()
        .in_scope(|| context.and_then(|context| work(&context)));
    let failed = done.as_ref().err();
    let failed = failed.map(|failure| (failure.code(), failure.diagnosis()));
    recording.end(journal::folder(&request.conf).as_deref(), failed);
    done.map_err(|failure| {
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

/// Deletes the sandboxes that the agent found to be gone. What fails is logged and stays marked.
///
/// # Errors
/// The error object of what failed.
pub fn collect_orphans(request: &Request) -> Result<(), ErrorObject> {
    journaled(request, gc::collect_orphans)
}

/// The answer to VERSION.
pub fn versions() -> Value {
    json!({"cniVersion": Version::LATEST, "supportedVersions": Version::ALL})
}
