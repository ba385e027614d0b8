//! GC: sandboxes that the runtime no longer knows get a full DEL; then every network that allows it is
//! told which of its attachments are valid.

mod networks;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::context::Context;
use super::del::{Origin, delete, mark};
use super::failure::Failure;
use crate::cni::chain::{self, AttachmentId};
use crate::cni::name::is_identifier;
use crate::cni::netconf::NetConfList;
use crate::gather::gather;
use crate::lease;
use crate::plan::inject_capabilities;
use crate::record::{Orphans, Record, RecordError, Sandbox};
use crate::trace::step;
use crate::wanted::default_network;
use networks::Networks;

/// How long a sandbox's lock is waited for: long enough for what a dead `meta-cni` left behind to be
/// ended, no longer, since a sandbox that is being worked on is not garbage yet.
const LOCK_LIMIT: Duration = Duration::from_secs(7);

/// Serves GC. Without `cni.dev/valid-attachments` nothing is deleted.
pub(super) fn gc(context: &Context<'_>) -> Result<(), Failure> {
    let Some(valid) = valid_attachments(&context.request.conf)? else {
        return Ok(());
    };
    context.records.make_folders()?;
    let mut failures = Vec::new();
    let mut networks = Networks::default();
    for id in known_containers(context)? {
        let is_valid = valid.iter().any(|valid| valid.container_id == id);
        match context.records.peek(&id) {
            Ok(Some(record)) if is_valid => networks.add_valid(&record),
            Ok(None) if is_valid => match made_by_multus(context, &id) {
                Ok(Some(record)) => networks.add_valid(&record),
                Ok(None) => networks.add_unknown(&id),
                Err(failure) => {
                    networks.add_unknown(&id);
                    failures.push(failure);
                }
            },
            // It is in use: better to keep what may be garbage than to take what is not.
            Err(error) if is_valid => {
                networks.add_unknown(&id);
                failures.push(error.into());
            }
            _ => {
                let locked = context.records.lock(&id, LOCK_LIMIT);
                let collected = locked
                    .map_err(Failure::from)
                    .and_then(|sandbox| collect(context, &id, sandbox, &mut networks));
                if let Err(failure) = collected {
                    if matches!(failure, Failure::Lock(_)) {
                        // It may be an ADD that is under way: its addresses are no garbage.
                        networks.add_unknown(&id);
                    }
                    failures.push(failure);
                }
            }
        }
    }
    for id in &valid {
        networks.add_unless_known(&id.container_id);
    }
    failures.extend(tell_networks(context, &networks));
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => Err(Failure::Several(failures)),
    }
}

/// The attachments that the runtime lists; nothing if it gives no list. Runtimes of 1.1.0 use the key
/// with a dash; libcni also writes its older name. libcni up to 1.3 writes `null` for the empty list.
fn valid_attachments(conf: &Map<String, Value>) -> Result<Option<Vec<AttachmentId>>, Failure> {
    let Some(listed) = conf
        .get("cni.dev/valid-attachments")
        .or_else(|| conf.get("cni.dev/attachments"))
    else {
        return Ok(None);
    };
    let wrong = |index, problem: &str| Failure::ValidAttachments {
        index,
        problem: problem.to_owned(),
    };
    let listed = match listed {
        Value::Null => &[][..],
        Value::Array(listed) => listed,
        _ => return Err(wrong(0, "the key must hold a list")),
    };
    let mut valid = Vec::with_capacity(listed.len());
    for (index, item) in listed.iter().enumerate() {
        let text = |field: &str| item.get(field).and_then(Value::as_str).map(str::to_owned);
        let container_id =
            text("containerID").ok_or_else(|| wrong(index, "containerID is missing"))?;
        let ifname = text("ifname").ok_or_else(|| wrong(index, "ifname is missing"))?;
        if !is_identifier(&container_id) {
            return Err(wrong(index, "containerID is not a container ID"));
        }
        valid.push(AttachmentId {
            container_id,
            ifname,
        });
    }
    Ok(Some(valid))
}

/// Every container that we or Multus have something of.
fn known_containers(context: &Context<'_>) -> Result<BTreeSet<String>, Failure> {
    let mut known: BTreeSet<String> = context.records.container_ids()?.into_iter().collect();
    known.extend(context.multus.container_ids());
    Ok(known)
}

/// Deletes the sandboxes that are marked, unless another process is at it.
pub(super) fn collect_orphans(context: &Context<'_>) -> Result<(), Failure> {
    let orphans = context.records.orphans();
    let Some(_turn) = orphans.turn() else {
        return Ok(());
    };
    let mut failures = Vec::new();
    for id in orphans.due(Timestamp::now()) {
        match collect_orphan(context, orphans, &id) {
            Ok(()) => failures.extend(orphans.unmark(&id).err().map(Failure::from)),
            Err(failure) => failures.push(failure),
        }
    }
    match failures.len() {
        0 => Ok(()),
        _ => Err(Failure::Several(failures)),
    }
}

/// One that is being worked on, that has no record any more, or whose record was written since it was marked, is no
/// orphan: the runtime tells a sandbox only once its ADD has ended.
fn collect_orphan(context: &Context<'_>, orphans: &Orphans, id: &str) -> Result<(), Failure> {
    if let Ok(None) = context.records.peek(id) {
        return Ok(());
    }
    let sandbox = context.records.lock(id, LOCK_LIMIT)?;
    if let Ok(written) = context.records.written(id)
        && orphans.is_outdated(id, written)
    {
        return Ok(());
    }
    collect(context, id, sandbox, &mut Networks::default()).inspect_err(|failure| {
        // One whose plugins failed is marked already.
        if !matches!(failure, Failure::Undeleted(_)) {
            mark(context, id, failure);
        }
    })
}

/// Deletes a sandbox that the runtime no longer knows.
fn collect(
    context: &Context<'_>,
    id: &str,
    sandbox: Sandbox<'_>,
    networks: &mut Networks,
) -> Result<(), Failure> {
    let record = match sandbox.load() {
        Ok(Some(record)) => Some(record),
        Ok(None) => made_by_multus(context, id)?,
        Err(source @ RecordError::Corrupt { .. }) => {
            let aside = sandbox.set_aside()?;
            return Err(Failure::SetAside { aside, source });
        }
        Err(error) => return Err(error.into()),
    };
    let Some(record) = record else {
        return Ok(sandbox.forget()?);
    };
    let pod = record.pod.as_ref().map(tracing::field::display);
    let span = tracing::info_span!("sandbox", container_id = id, pod);
    networks.add_gone(&record);
    step(span, || {
        tracing::info!(
            container_id = id,
            "deleting a sandbox that the runtime no longer knows"
        );
        // The path may be another sandbox's by now, so the delegates are not led there.
        let netns = if netns_is_taken(context, &record) {
            String::new()
        } else {
            record.netns.clone()
        };
        delete(context, sandbox, record, Origin::Recorded, &netns)
    })
}

/// What Multus made for a sandbox. GC is not told the interface of the default network: it is the one
/// that every runtime uses for pods.
fn made_by_multus(context: &Context<'_>, id: &str) -> Result<Option<Record>, Failure> {
    Ok(context
        .multus
        .record(id, "", "eth0", &context.request.env.args, None)?)
}

/// Whether another recorded sandbox has the same network namespace.
fn netns_is_taken(context: &Context<'_>, record: &Record) -> bool {
    let Ok(ids) = context.records.container_ids() else {
        return true;
    };
    ids.iter().filter(|id| **id != record.container_id).any(
        |id| matches!(context.records.peek(id), Ok(Some(other)) if other.netns == record.netns),
    )
}

/// Tells each network its valid attachments; all are tried.
fn tell_networks(context: &Context<'_>, networks: &Networks) -> Vec<Failure> {
    if let Some(sandboxes) = networks.unknown() {
        tracing::warn!(
            sandboxes,
            "the runtime lists sandboxes that are not recorded; networks are not asked to collect garbage"
        );
        return Vec::new();
    }
    let mut failures = Vec::new();
    let exec = context.exec_within(context.config.delegate_timeout());
    let default = default_of_configuration(context);
    let unused = default.iter().filter(|list| !networks.has(&list.name));
    for list in networks.lists().chain(unused) {
        let valid = networks.valid(&list.name);
        if let Err(errors) = chain::gc(&exec, list, &valid) {
            failures.extend(errors.into_iter().map(|source| Failure::NetworkGc {
                network: list.name.clone(),
                source,
            }));
        }
        if let Err(source) = lease::collect(list, &valid) {
            failures.push(Failure::LeaseGc {
                network: list.name.clone(),
                source,
            });
        }
    }
    failures
}

/// The default network, which may have garbage though no sandbox of it is recorded any more.
fn default_of_configuration(context: &Context<'_>) -> Option<NetConfList> {
    let wanted = default_network(&context.config, context.cluster().is_some())?;
    let found = gather(&context.config, context.cluster(), &[wanted])
        .into_iter()
        .next()?;
    match found {
        Ok(mut found) => {
            inject_capabilities(&mut found.list, &Map::new()).ok()?;
            Some(found.list)
        }
        Err(problem) => {
            tracing::info!(
                problem = problem.what,
                "the default network is not asked to collect garbage"
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_the_empty_list_and_an_absent_key_is_no_list() {
        let c1 = json!([{"containerID": "c1", "ifname": "eth0"}]);
        let cases = [
            ("absent", json!({}), None),
            ("null", json!({"cni.dev/valid-attachments": null}), Some(0)),
            ("empty", json!({"cni.dev/valid-attachments": []}), Some(0)),
            ("one", json!({"cni.dev/valid-attachments": c1}), Some(1)),
            ("older key", json!({"cni.dev/attachments": c1}), Some(1)),
            (
                "older key, null",
                json!({"cni.dev/attachments": null}),
                Some(0),
            ),
            (
                "both, as libcni writes them",
                json!({"cni.dev/valid-attachments": null, "cni.dev/attachments": null}),
                Some(0),
            ),
        ];
        for (name, conf, expected) in cases {
            let valid = valid_attachments(conf.as_object().unwrap()).unwrap();
            assert_eq!(valid.map(|valid| valid.len()), expected, "{name}");
        }
        for wrong in [json!("x"), json!({}), json!(0), json!(false)] {
            let conf = json!({"cni.dev/valid-attachments": wrong});
            assert!(
                valid_attachments(conf.as_object().unwrap()).is_err(),
                "{wrong}"
            );
        }
    }
}
