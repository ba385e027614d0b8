//! ADD: all of a pod's attachments, or none and why.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use netlink::Netlink;
use netlink::netns;
use serde_json::Value;
use tracing::{Span, info_span};

use super::context::Context;
use super::del::{Origin, detach, keep};
use super::failure::Failure;
use super::planning::make_plan;
use super::report;
use crate::advertisements::{Accept, Guard};
use crate::cluster::{Pod, PodRef};
use crate::config::OnStatusFailure;
use crate::diagnosis::Explain as _;
use crate::record::{Entry, Record, Sandbox};
use crate::route::{self, Want};
use crate::settle::{self, Open, Questions, settle};
use crate::trace::{note, step, words};
use crate::{device_files, lease, limits, selection};

/// How often a file that ADD waits for is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Serves ADD; gives the default network's result in the runtime's version.
pub(super) fn add(context: &Context<'_>) -> Result<Value, Failure> {
    let env = &context.request.env;
    if context.pod_ref.is_some() && context.cluster().is_none() {
        // Else the pod would start without its secondary networks, and nobody would notice.
        return Err(Failure::NoSourceOfNetworks);
    }
    step(info_span!("ready"), || wait_until_ready(context))?;
    netns::exists(Path::new(&env.netns)).map_err(Failure::Netns)?;
    context.records.make_folders()?;
    let sandbox = step(info_span!("lock"), || {
        context
            .records
            .lock(context.container_id(), context.lock_limit())
    })?;
    undo_earlier_attempt(context, &sandbox)?;
    let pod = match step(info_span!(words::POD), || pod(context)) {
        Ok(pod) => pod,
        Err(failure) => return Err(forget(sandbox, failure)),
    };
    let attached = attach(context, &sandbox, pod.as_ref());
    match attached {
        Ok(result) => Ok(result),
        Err(Aborted { failure, begun }) => {
            let failure = match begun {
                Some(record) => undo(context, sandbox, record, failure),
                None => forget(sandbox, failure),
            };
            if let (Some(cluster), Some(pod)) = (context.cluster(), &pod) {
                report::failure(cluster, pod, &failure);
            }
            Err(failure)
        }
    }
}

/// An ADD that failed.
struct Aborted {
    failure: Failure,
    /// What there is to undo, if there is anything.
    begun: Option<Record>,
}

impl<F: Into<Failure>> From<F> for Aborted {
    /// A failure before anything was made or leased.
    fn from(failure: F) -> Aborted {
        Aborted {
            failure: failure.into(),
            begun: None,
        }
    }
}

/// The attachments, from plan to report.
fn attach(
    context: &Context<'_>,
    sandbox: &Sandbox<'_>,
    pod: Option<&Pod>,
) -> Result<Value, Aborted> {
    let attachments = step(info_span!("plan"), || make_plan(context, pod))?;
    let env = &context.request.env;
    let mut record = Record::planned(
        context.container_id(),
        &env.netns,
        pod_of_record(context, pod),
        attachments,
    );
    record.configuration = Some(context.config.name.clone()).filter(|name| !name.is_empty());
    record.asked = pod.map(selection::asked).unwrap_or_default();
    step(info_span!("record"), || sandbox.save_durably(&record))?;
    // If it fails, all leases of the pod are released already.
    step(info_span!("lease"), || {
        lease::take(&record, &context.config.state_dir)
    })?;
    match run(context, sandbox, pod, &mut record) {
        Ok(result) => Ok(result),
        Err(failure) => Err(Aborted {
            failure,
            begun: Some(record),
        }),
    }
}

/// The pod as the runtime names it; with its UID also from a runtime that does not pass it.
fn pod_of_record(context: &Context<'_>, pod: Option<&Pod>) -> Option<PodRef> {
    let mut named = context.pod_ref.clone()?;
    let known = || pod.map(|pod| pod.runtime_uid().to_owned());
    named.uid = named.uid.filter(|uid| !uid.is_empty()).or_else(known);
    Some(named)
}

/// Everything that changes the pod or reports on it, once the plan is on disk and the addresses are leased.
fn run(
    context: &Context<'_>,
    sandbox: &Sandbox<'_>,
    pod: Option<&Pod>,
    record: &mut Record,
) -> Result<Value, Failure> {
    if let Err(error) = device_files::prepare(&context.config, record.attachments()) {
        record.set_untouched();
        return Err(error.into());
    }
    let visit = attach_guarded(context, record)?;
    step(info_span!("route"), || set_default_routes(record))?;
    settle_addresses_and_mtus(context, pod, record, visit)?;
    let result = result(context, record)?;
    let success = context
        .cluster()
        .zip(pod)
        .map(|_| report::success(&context.config, record));
    record.network_status = success
        .as_ref()
        .map(|success| success.network_status.clone());
    // Both are waited for, neither waits for the other: a planned record serves a DEL as well.
    let (saved, reported) = std::thread::scope(|scope| {
        let verb = Span::current();
        let success = success.as_ref();
        let reported = scope.spawn(move || {
            let span = info_span!(parent: &verb, "report");
            step(span, || report(context, pod, success))
        });
        let saved = step(info_span!("record"), || sandbox.save(record));
        (saved, reported.join())
    });
    saved?;
    match reported {
        Ok(reported) => reported?,
        Err(panic) => std::panic::resume_unwind(panic),
    }
    Ok(result)
}

/// Writes network-status and Events, if there is a cluster.
fn report(
    context: &Context<'_>,
    pod: Option<&Pod>,
    success: Option<&report::Success>,
) -> Result<(), Failure> {
    let (Some(cluster), Some(pod), Some(success)) = (context.cluster(), pod, success) else {
        return Ok(());
    };
    match cluster.report(pod, Some(&success.network_status), &success.events) {
        Err(error) if context.config.on_status_failure == OnStatusFailure::Warn => {
            let error = error.diagnosis();
            tracing::warn!(
                %error,
                "network-status could not be written; the agent repairs it"
            );
            Ok(())
        }
        // As is to be expected; else `undo` says so.
        reported => reported.map_err(|source| Failure::Report {
            undone: true,
            source,
        }),
    }
}

/// The pod, if the runtime names one and there is somebody to ask.
fn pod(context: &Context<'_>) -> Result<Option<Pod>, Failure> {
    match (context.cluster(), &context.pod_ref) {
        (Some(cluster), Some(pod)) => {
            let pod = cluster.pod(pod).map_err(Failure::Pod)?;
            for (annotation, text) in selection::asked(&pod) {
                note(&annotation, text);
            }
            Ok(Some(pod))
        }
        _ => Ok(None),
    }
}

fn wait_until_ready(context: &Context<'_>) -> Result<(), Failure> {
    let Some(path) = &context.config.readiness_indicator_file else {
        return Ok(());
    };
    let seconds = context.config.readiness_timeout_seconds;
    let deadline = Instant::now() + Duration::from_secs(seconds).min(limits::left());
    if !path.exists() {
        tracing::info!(path = %path.display(), seconds, "waiting for readinessindicatorfile");
    }
    while !path.exists() {
        if Instant::now() >= deadline {
            return Err(Failure::NotReady {
                path: path.clone(),
                seconds,
            });
        }
        sleep(POLL_INTERVAL);
    }
    Ok(())
}

/// An ADD that was killed left a record; what it made is removed before a new attempt.
fn undo_earlier_attempt(context: &Context<'_>, sandbox: &Sandbox<'_>) -> Result<(), Failure> {
    let Some(mut record) = sandbox.load()? else {
        return Ok(());
    };
    if record.is_complete() {
        return Err(Failure::AlreadyAttached {
            container_id: record.container_id,
        });
    }
    tracing::warn!("an earlier ADD of this sandbox was not completed; undoing it first");
    let netns = record.netns.clone();
    detach(context, &mut record, Origin::Recorded, &netns).map_err(|errors| {
        let failure = Failure::Undeleted(errors);
        keep(context, sandbox, &record, &failure);
        failure
    })
}

/// Sets the default routes that were asked for, and lets the results say what is true then.
fn set_default_routes(record: &mut Record) -> Result<(), Failure> {
    let wants: Vec<Want> = record
        .attachments
        .iter()
        .filter_map(|entry| {
            let gateways = entry.attachment.default_route.clone()?;
            Some(Want {
                ifname: entry.attachment.ifname.clone(),
                gateways,
            })
        })
        .collect();
    if wants.is_empty() {
        return Ok(());
    }
    let routes = route::apply(Path::new(&record.netns), &wants).map_err(Failure::Route)?;
    for entry in &mut record.attachments {
        if let Some(result) = &mut entry.result {
            route::correct_result(result, &entry.attachment.ifname, &routes);
        }
    }
    Ok(())
}

/// Waits for the IPv6 addresses, and asks the kernel for what network-status is to say and the results leave out.
fn settle_addresses_and_mtus(
    context: &Context<'_>,
    pod: Option<&Pod>,
    record: &mut Record,
    visit: Option<Netlink>,
) -> Result<(), Failure> {
    let limit = context.config.dad_timeout();
    let open = Open {
        mtus: context.cluster().is_some() && pod.is_some(),
        addresses: limit.is_some(),
    };
    let questions = Questions::of(record, open);
    if questions.is_empty() {
        return Ok(());
    }
    let limit = limit.unwrap_or_default();
    step(info_span!("settle"), || {
        let mut netlink = match visit {
            Some(netlink) => netlink,
            None => settle::visit(Path::new(&record.netns), || ())?.0,
        };
        settle(&mut netlink, record, &questions, limit)
    })?;
    Ok(())
}

/// Runs the plugins; secondary interfaces appear in a namespace in which they learn from routers what they may, and
/// nothing before that. Returns the connection to the namespace, if there was a reason to visit it.
fn attach_guarded(context: &Context<'_>, record: &mut Record) -> Result<Option<Netlink>, Failure> {
    let netns = PathBuf::from(&record.netns);
    let accept = context.config.accept_router_advertisements;
    let mut visited = None;
    context.attaching().attach(record, || {
        if accept != Accept::All {
            visited = Some(settle::visit(&netns, || Guard::hold(accept)));
        }
    })?;
    let Some(visited) = visited else {
        return Ok(None);
    };
    let (netlink, guard) = visited?;
    let asking = asking_for_routers(record);
    if guard.is_held() && !asking.is_empty() {
        let release = || guard.release(&asking);
        netns::within(&netns, release).map_err(Failure::Netns)?;
    }
    Ok(Some(netlink))
}

/// The interfaces of secondary attachments that want a default route: by the pod's word, or by their own result.
fn asking_for_routers(record: &Record) -> Vec<&str> {
    let asks = |entry: &&Entry| {
        let by_pod = entry.attachment.default_route.as_ref();
        let routes = entry.result.iter().flat_map(|result| &result.routes);
        let mut defaults = routes.filter(|route| route.dst.prefix() == 0);
        by_pod.is_some_and(|gateways| !gateways.is_empty())
            || defaults.any(|route| route.dst.is_ipv6())
    };
    let asking = record.attachments.iter().skip(1).filter(asks);
    asking
        .map(|entry| entry.attachment.ifname.as_str())
        .collect()
}

/// The default network's result in the runtime's version.
fn result(context: &Context<'_>, record: &Record) -> Result<Value, Failure> {
    let result = record
        .attachments
        .first()
        .and_then(|entry| entry.result.clone())
        .unwrap_or_default();
    let version = context.request.version;
    result
        .to_value(version)
        .map_err(|source| Failure::Result { version, source })
}

/// Removes all that was made; if that fails, the record stays for the runtime's DEL.
fn undo(
    context: &Context<'_>,
    sandbox: Sandbox<'_>,
    mut record: Record,
    mut failure: Failure,
) -> Failure {
    let netns = record.netns.clone();
    let _undo = info_span!(words::UNDO).entered();
    device_files::clean_up(&context.config, record.attachments());
    match detach(context, &mut record, Origin::Recorded, &netns) {
        Ok(()) => forget(sandbox, failure),
        Err(errors) => {
            for error in &errors {
                let error = error.diagnosis();
                tracing::warn!(
                    %error,
                    "an attachment could not be undone; DEL will try again"
                );
            }
            keep(context, &sandbox, &record, &Failure::Undeleted(errors));
            if let Failure::Report { undone, .. } = &mut failure {
                *undone = false;
            }
            failure
        }
    }
}

fn forget(sandbox: Sandbox<'_>, failure: Failure) -> Failure {
    if let Err(error) = sandbox.forget() {
        let error = error.diagnosis();
        tracing::warn!(%error, "a record of nothing stays; DEL removes it");
    }
    failure
}
