//! What works and yet surprises, found in the plan of a pod: ADD logs it, doctor has it in its report.
//! From configurations alone, but for `route_at_stake`, which asks the kernel.

mod default_routes;
mod forwarding;
mod links;
mod masquerade;
mod ports;

use cni::netconf::PluginConf;
use serde_json::Value;

use crate::attachment::Attachment;

pub(crate) use forwarding::{forwards_ipv6, route_at_stake, warning as of_forwarding};
pub(crate) use links::{Master, ipvlan_mode, vlan_id};

/// One thing that works in a way that people do not expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What happens, and to which interfaces.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

/// What surprises in a pod with these attachments, the default network first.
pub fn of_pod(attachments: &[Attachment]) -> Vec<Warning> {
    let mut warnings = default_routes::of_pod(attachments);
    warnings.extend(ports::of_pod(attachments));
    warnings.extend(links::of_pod(attachments));
    warnings.extend(masquerade::of_pod(attachments));
    warnings
}

/// How an attachment is called in a text.
fn named(attachment: &Attachment) -> String {
    format!("{} ({})", attachment.ifname, attachment.network)
}

fn text<'a>(plugin: &'a PluginConf, key: &str) -> Option<&'a str> {
    plugin.get(key)?.as_str().filter(|text| !text.is_empty())
}

fn is_set(plugin: &PluginConf, key: &str) -> bool {
    plugin.get(key) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests;
