//! The plan of an ADD: (configuration, pod, networks, devices) → attachments, each with its interface
//! name and exactly what every plugin will be given. A pure function: everything wrong is found here,
//! before anything runs.

mod bandwidth;
mod flannel;
mod inject;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;

use cni::args::Args;
use cni::name::interface_name_problem;
use cni::netconf::{NetConfList, PluginConf};
use cni::requested_ips;
use serde_json::{Map, Value};

use crate::attachment::Attachment;
use crate::author::Author;
use crate::cluster::{Pod, PodRef};
use crate::config::Config;
use crate::device::info::DeviceInfoFiles;
use crate::device::{self, Device};
use crate::diagnosis::{Diagnosis, Explain as _};
use crate::gather::{Found, label};
use crate::limits::bytes_of;
use crate::order;
use crate::plugin_role::PluginRole;
use crate::problem::{Problem, Problems};
use crate::tenant::{self, Refusal};
use crate::wanted::Wanted;

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Our configuration.
    pub config: &'a Config,
    /// CNI_CONTAINERID.
    pub container_id: &'a str,
    /// CNI_IFNAME: the interface of the default network.
    pub ifname: &'a str,
    /// CNI_ARGS as the runtime gave them.
    pub args: &'a Args,
    /// The pod as the runtime names it.
    pub pod_ref: Option<&'a PodRef>,
    /// The pod.
    pub pod: Option<&'a Pod>,
    /// The networks in order, default network first.
    pub wanted: &'a [Wanted],
    /// Their configurations, in the same order.
    pub found: &'a [Result<Found, Problem>],
    /// The devices for each network, in the same order.
    pub devices: &'a [Option<Device>],
}

/// At least how many bytes the plan of these networks will have: each plugin gets a copy of what the pod asks of its network. To
/// be compared with [`crate::limits::PLAN_BYTES`] before the copies are made.
pub fn expected_bytes(wanted: &[Wanted], found: &[Result<Found, Problem>]) -> usize {
    let both = wanted.iter().zip(found);
    let bytes = both.filter_map(|(wanted, found)| {
        let list = &found.as_ref().ok()?.list;
        let element = &wanted.element;
        let asked = (
            &element.cni_args,
            &element.port_mappings,
            &element.bandwidth,
            &element.ips,
        );
        Some(bytes_of(list) + list.plugins.len() * bytes_of(&asked))
    });
    bytes.fold(0, usize::saturating_add)
}

/// Makes the plan.
///
/// # Errors
/// Everything that is wrong: networks that were not found, names that clash, plugins that may not be
/// run, default routes that two attachments ask for, attachments that stand on a later one or on none.
pub fn plan(inputs: Inputs<'_>) -> Result<Vec<Attachment>, Problems> {
    let mut problems = Vec::new();
    let names = interface_names(inputs, &mut problems);
    check_default_routes(inputs, &names, &mut problems);
    let mut attachments = Vec::with_capacity(inputs.wanted.len());
    for (index, (wanted, found)) in inputs.wanted.iter().zip(inputs.found).enumerate() {
        let found = match found {
            Ok(found) => found,
            Err(problem) => {
                problems.push(problem.clone());
                continue;
            }
        };
        check_plugins(inputs.config, found, &mut problems);
        check_addresses(wanted, found, &mut problems);
        let device = inputs.devices.get(index).cloned().flatten();
        match attachment(
            inputs,
            wanted,
            found,
            names[index].clone(),
            device,
            index == 0,
        ) {
            Ok(attachment) => attachments.push(attachment),
            Err(problem) => problems.push(problem),
        }
    }
    flannel::separate(&mut attachments);
    problems.extend(bandwidth::problems(&attachments));
    if attachments.len() == inputs.wanted.len() {
        problems.extend(order::problems(&attachments.iter().collect::<Vec<_>>()));
    }
    if problems.is_empty() {
        Ok(attachments)
    } else {
        Err(Problems(problems))
    }
}

/// The interface of each network: the runtime's for the default network, then the one that was asked
/// for, else `net<index in the whole list>`.
fn interface_names(inputs: Inputs<'_>, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(inputs.wanted.len());
    let mut taken: HashMap<String, usize> = HashMap::with_capacity(inputs.wanted.len());
    let label = |index: usize| label(&inputs.wanted[index].source, &inputs.found[index]);
    for (index, wanted) in inputs.wanted.iter().enumerate() {
        let name = match &wanted.element.interface {
            _ if index == 0 => inputs.ifname.to_owned(),
            Some(name) => name.clone(),
            None => format!("net{index}"),
        };
        let subject = || format!("network {}", label(index));
        if let Some(problem) = interface_name_problem(&name) {
            problems.push(Problem::permanent(
                subject(),
                format!("interface {name:?}: {problem}"),
            ));
        } else if name == "lo" {
            problems.push(Problem::permanent(
                subject(),
                Diagnosis::new("interface lo is the pod's loopback", "choose another name"),
            ));
        } else if let Some(&other) = taken.get(&name) {
            let what = Diagnosis::new(
                format!("interface {name} is also that of network {}", label(other)),
                "give one of them another name",
            );
            problems.push(Problem::permanent(subject(), what));
        }
        taken.entry(name.clone()).or_insert(index);
        names.push(name);
    }
    names
}

/// For each family, one attachment at most may ask for the default route.
fn check_default_routes(inputs: Inputs<'_>, names: &[String], problems: &mut Vec<Problem>) {
    for (family, is_of) in [
        ("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
        ("IPv6", IpAddr::is_ipv6),
    ] {
        let asking: Vec<&str> = inputs
            .wanted
            .iter()
            .zip(names)
            .filter(|(wanted, _)| wanted.element.default_route.iter().flatten().any(is_of))
            .map(|(_, name)| name.as_str())
            .collect();
        if asking.len() > 1 {
            let what = Diagnosis::new(
                format!(
                    "{} all ask for the {family} default route",
                    asking.join(", ")
                ),
                "leave default-route on one of them",
            );
            problems.push(Problem::permanent("default-route", what));
        }
    }
}

/// The plugins of the node's own configurations; those of tenants were checked with all that they name.
fn check_plugins(config: &Config, found: &Found, problems: &mut Vec<Problem>) {
    if found.author == Author::Tenant {
        return;
    }
    for (index, plugin) in found.list.plugins.iter().enumerate() {
        let name = plugin.plugin_type().to_owned();
        let place = if index == 0 {
            PluginRole::Main
        } else {
            PluginRole::Chained
        };
        let refusal = match &config.allowed_plugins {
            _ if tenant::is_ourselves(config, &name) => Refusal::Ourselves { name },
            Some(allowed) if !allowed.allows(&name, place) => {
                let place = allowed.key(place);
                Refusal::NotAllowed { name, place }
            }
            _ => continue,
        };
        let subject = format!("network {}", found.network);
        problems.push(Problem::permanent(subject, refusal.diagnosis()));
    }
}

/// Several addresses must reach the plugin that is to set them.
fn check_addresses(wanted: &Wanted, found: &Found, problems: &mut Vec<Problem>) {
    let cannot = |plugin: &&PluginConf| !requested_ips::reads_several(plugin);
    if wanted.element.ips.len() > 1
        && let Some(plugin) = found.list.plugins.iter().find(cannot)
    {
        let what = Diagnosis::new(
            format!(
                "several addresses (ips) cannot be asked of plugin {:?} with host-local, which reads one",
                plugin.plugin_type()
            ),
            "declare \"capabilities\": {\"ips\": true} in the network",
        );
        let subject = format!("network {}", found.network);
        problems.push(Problem::permanent(subject, what));
    }
}

fn attachment(
    inputs: Inputs<'_>,
    wanted: &Wanted,
    found: &Found,
    ifname: String,
    device: Option<Device>,
    is_default: bool,
) -> Result<Attachment, Problem> {
    let network = found.network.clone();
    let wrong = |what: String| Problem::permanent(format!("network {network}"), what);
    let device_info_file =
        device_info_file(inputs, found, device.as_ref(), &network, &ifname).map_err(wrong)?;
    let base = if is_default {
        inputs.config.runtime_config.clone()
    } else {
        Map::new()
    };
    let capabilities = inject::capabilities(
        base,
        &wanted.element,
        device.as_ref(),
        device_info_file.as_deref(),
    );
    let mut list = found.list.clone();
    inject::into_list(
        &mut list,
        &capabilities,
        wanted.element.cni_args.as_ref(),
        device.as_ref(),
    )
    .map_err(wrong)?;
    Ok(Attachment {
        network,
        ifname,
        args: delegate_args(inputs, wanted).to_string(),
        list,
        check_by_plugins: found.check_by_plugins,
        default_route: wanted.element.default_route.clone(),
        device,
        device_info_file,
    })
}

/// The device info file, if the attachment has a device or a plugin of the network reads the file. An
/// impossible name of the file is a problem only if a plugin reads it.
fn device_info_file(
    inputs: Inputs<'_>,
    found: &Found,
    device: Option<&Device>,
    network: &str,
    ifname: &str,
) -> Result<Option<PathBuf>, String> {
    let is_declared = device::info::is_declared(&found.list);
    if device.is_none() && !is_declared {
        return Ok(None);
    }
    let files = DeviceInfoFiles {
        base: inputs.config.device_info_dir.clone(),
    };
    match files.cni_path(network, inputs.container_id, ifname) {
        Ok(path) => Ok(Some(path)),
        Err(error) if is_declared => Err(error.to_string()),
        Err(error) => {
            tracing::warn!(%error, network, "network-status goes without device-info");
            Ok(None)
        }
    }
}

/// CNI_ARGS of a delegate: the pod, then the rest as it came, then what the pod asks for.
fn delegate_args(inputs: Inputs<'_>, wanted: &Wanted) -> Args {
    let mut args = Args::default();
    if let Some(pod) = inputs.pod_ref {
        args.set(
            "IgnoreUnknown",
            inputs.args.get("IgnoreUnknown").unwrap_or("true"),
        );
        args.set("K8S_POD_NAMESPACE", &pod.namespace);
        args.set("K8S_POD_NAME", &pod.name);
        args.set(
            "K8S_POD_INFRA_CONTAINER_ID",
            inputs
                .args
                .get("K8S_POD_INFRA_CONTAINER_ID")
                .unwrap_or(inputs.container_id),
        );
        let uid = inputs
            .pod
            .map(|pod| pod.uid.as_str())
            .filter(|uid| !uid.is_empty());
        if let Some(uid) = pod.uid.as_deref().or(uid) {
            args.set("K8S_POD_UID", uid);
        }
    }
    for (key, value) in inputs.args.iter() {
        args.set(key, value);
    }
    let ips = &wanted.element.ips;
    if !ips.is_empty() {
        args.set("IP", &ips.join(","));
    }
    if let Some(mac) = &wanted.element.mac {
        args.set("MAC", mac);
    }
    args
}

/// Makes a list ready to be run with the values of `capabilities`, as libcni does.
///
/// # Errors
/// What is in the way, if the configuration has another kind of value where an object is needed.
pub fn inject_capabilities(
    list: &mut NetConfList,
    capabilities: &Map<String, Value>,
) -> Result<(), String> {
    inject::into_list(list, capabilities, None, None)
}

#[cfg(test)]
mod tests;
