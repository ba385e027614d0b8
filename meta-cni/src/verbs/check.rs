//! CHECK: every attachment of a sandbox is asked by its own plugins against its own result; then the
//! interfaces and default routes are looked at.

use std::path::Path;

use super::context::Context;
use super::failure::Failure;
use crate::cni::result::Interface;
use crate::netns;
use crate::record::{Entry, Record};
use crate::route::{self, DefaultRoute, Family, Snapshot};

/// Serves CHECK.
pub(super) fn check(context: &Context<'_>) -> Result<(), Failure> {
    context.records.make_folders()?;
    let _sandbox = context
        .records
        .lock(context.container_id(), context.lock_limit())?;
    let record = recorded(context)?;
    let netns = &context.request.env.netns;
    context.runner().check(&record, netns)?;
    let snapshot = route::inspect(Path::new(netns)).map_err(Failure::Route)?;
    record.attachments.iter().try_for_each(|entry| {
        problem(entry, &record, netns, &snapshot).map_or(Ok(()), |problem| {
            let attachment = &entry.attachment;
            let (network, ifname) = (attachment.network.clone(), attachment.ifname.clone());
            Err(Failure::Check {
                network,
                ifname,
                problem,
            })
        })
    })
}

fn recorded(context: &Context<'_>) -> Result<Record, Failure> {
    let env = &context.request.env;
    if let Some(record) = context.records.peek(context.container_id())? {
        return if record.is_complete() {
            Ok(record)
        } else {
            Err(Failure::Incomplete)
        };
    }
    let path = context.delegate_path();
    let pod = context.pod_ref.clone();
    context
        .multus
        .record(
            &env.container_id,
            &env.netns,
            &env.ifname,
            &path,
            &env.args,
            pod,
        )?
        .ok_or_else(|| Failure::NotRecorded {
            container_id: env.container_id.clone(),
        })
}

/// What is not as it was when the attachment was made, if anything is not.
fn problem(entry: &Entry, record: &Record, netns: &str, now: &Snapshot) -> Option<String> {
    missing_interface(entry, record, netns, now).or_else(|| wrong_default_route(entry, record, now))
}

fn missing_interface(
    entry: &Entry,
    record: &Record,
    netns: &str,
    now: &Snapshot,
) -> Option<String> {
    let interfaces = entry.result.iter().flat_map(|result| &result.interfaces);
    interfaces
        .filter(|interface| is_link_of_pod(interface, &[netns, &record.netns]))
        .find(|interface| now.links.iter().all(|link| link.name != interface.name))
        .map(|interface| {
            format!(
                "interface {} is gone from the pod; delete the pod to have it made again",
                interface.name
            )
        })
}

/// Whether the kernel must have a link for this interface in the pod's namespace, which goes by `paths`.
/// A result also names interfaces of the host and such as are nowhere (AWS' `dummy…` has the sandbox `0`);
/// and those that a program drives without the kernel: a device that is bound for DPDK has a `pciID`, a
/// vhost-user port a `socketPath`.
fn is_link_of_pod(interface: &Interface, paths: &[&str]) -> bool {
    let is_here = |sandbox: &String| paths.iter().any(|path| netns::is_same(sandbox, path));
    interface.sandbox.as_ref().is_some_and(is_here)
        && interface.pci_id.is_none()
        && interface.socket_path.is_none()
}

fn wrong_default_route(entry: &Entry, record: &Record, now: &Snapshot) -> Option<String> {
    let asked = entry.attachment.default_route.as_ref()?;
    let ifname = entry.attachment.ifname.as_str();
    let over = |ifname: &str, family: Family| -> Vec<&DefaultRoute> {
        now.default_routes
            .iter()
            .filter(|route| route.ifname == ifname && route.family == family)
            .collect()
    };
    if asked.is_empty() {
        let some = Family::BOTH
            .into_iter()
            .flat_map(|family| over(ifname, family))
            .next();
        return some.map(|route| {
            format!(
                "it has an {} default route, which it was to have none of",
                route.family
            )
        });
    }
    asked.iter().find_map(|gateway| {
        let family = Family::from(*gateway);
        if over(ifname, family)
            .iter()
            .all(|route| route.gateway != Some(*gateway))
        {
            return Some(format!("the default route via {gateway} is gone"));
        }
        record
            .attachments
            .iter()
            .map(|other| other.attachment.ifname.as_str())
            .find(|other| *other != ifname && !over(other, family).is_empty())
            .map(|other| format!("{other} has an {family} default route beside it"))
    })
}

#[cfg(test)]
mod tests;
