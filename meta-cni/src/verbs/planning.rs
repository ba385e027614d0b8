//! The plan of a request: what the configuration and the pod ask for, with everything checked, before anything runs. ADD makes what it
//! says; DEL makes it anew where no record is left.

use cni::error::with_causes;
use serde_json::{Value, json};
use tracing::info_span;

use super::context::Context;
use super::failure::Failure;
use crate::attachment::Attachment;
use crate::cluster::Pod;
use crate::diagnosis::Diagnosis;
use crate::gather::gather;
use crate::journal::learn;
use crate::plan::{Inputs, expected_bytes, plan};
use crate::problem::{Problem, Problems};
use crate::trace::note;
use crate::wanted::wanted;
use crate::{device, limits, policy, warnings};

/// The attachments that the configuration and the pod ask for, with everything checked.
pub(super) fn make_plan(
    context: &Context<'_>,
    pod: Option<&Pod>,
) -> Result<Vec<Attachment>, Failure> {
    let config = &context.config;
    let wanted = wanted(config, pod, context.cluster().is_some())?;
    let found = info_span!("networks").in_scope(|| gather(config, context.cluster(), &wanted));
    let found = info_span!("policy")
        .in_scope(|| policy::enforce(config, context.cluster(), pod, &wanted, found));
    check_bytes(expected_bytes(&wanted, &found))?;
    let devices = device::assign(config, pod, &wanted, &found)?;
    let env = &context.request.env;
    let attachments = plan(Inputs {
        config,
        container_id: context.container_id(),
        ifname: &env.ifname,
        args: &env.args,
        pod_ref: context.pod_ref.as_ref(),
        pod,
        wanted: &wanted,
        found: &found,
        devices: &devices,
    })?;
    check_bytes(limits::bytes_of(&attachments))?;
    for plugin in attachments.iter().flat_map(|one| &one.list.plugins) {
        learn(plugin.as_map());
    }
    note("attachments", summary(&attachments));
    warn(&attachments);
    let problems = context.plugin_problems(&attachments);
    if problems.is_empty() {
        Ok(attachments)
    } else {
        Err(Problems(problems).into())
    }
}

/// Refuses a plan that is too large.
fn check_bytes(bytes: usize) -> Result<(), Problems> {
    if bytes <= limits::PLAN_BYTES {
        return Ok(());
    }
    let cause = format!(
        "have {bytes} bytes together, and at most {} are allowed",
        limits::PLAN_BYTES
    );
    let what = Diagnosis::new(cause, "name fewer or smaller ones");
    Err(Problems(vec![Problem::permanent(
        "the pod's networks",
        what,
    )]))
}

/// Logs what works and yet has an unexpected effect.
fn warn(attachments: &[Attachment]) {
    let mut found = warnings::of_pod(attachments);
    if attachments
        .iter()
        .any(|one| warnings::forwards_ipv6(&one.list))
    {
        match warnings::route_at_stake() {
            Ok(ifname) => found.extend(ifname.as_deref().map(warnings::of_forwarding)),
            Err(error) => {
                let error = with_causes(&error);
                tracing::debug!(error, "the node's IPv6 default routes cannot be read");
            }
        }
    }
    for warning in found {
        tracing::warn!(
            what = warning.what,
            remedy = warning.remedy,
            "the plan has a side effect"
        );
    }
}

/// What was planned, in few words.
fn summary(attachments: &[Attachment]) -> Value {
    let all = attachments.iter().map(|attachment| {
        let plugins = attachment.list.plugins.iter();
        let plugins: Vec<_> = plugins.map(|plugin| plugin.plugin_type()).collect();
        json!({"network": attachment.network, "ifname": attachment.ifname, "plugins": plugins})
    });
    all.collect()
}
