//! What a tenant's configuration may not say.

use cni::netconf::{NetConfList, PluginConf};
use serde_json::{Map, Value};

use super::{Placed, keys, placed};
use crate::config::Config;
use crate::diagnosis::Explain;
use crate::ipam::config::{NETWORK, TYPE as META_IPAM};
use crate::ipam::node_file;
use crate::plugin_role::PluginRole;

/// IPAM plugins: they do nothing as another kind of plugin.
const IPAM_ONLY: [&str; 5] = ["dhcp", "host-local", META_IPAM, "static", "whereabouts"];

/// Plugins that are no IPAM plugins. One of them in this place would execute itself again and again.
const NEVER_IPAM: [&str; 21] = [
    "bandwidth",
    "bridge",
    "dummy",
    "firewall",
    "flannel",
    "host-device",
    "ib-sriov",
    "ipvlan",
    "loopback",
    "macvlan",
    "ovs",
    "portmap",
    "ptp",
    "rdma",
    "route-override",
    "sbr",
    "sriov",
    "tap",
    "tuning",
    "vlan",
    "vrf",
];

/// Plugins that read from their configuration what to execute, and from where.
const META_PLUGINS: [&str; 3] = ["genie", "multus", "multus-shim"];

/// Plugins of one list: each gets a copy of what the pod asks for.
const PLUGINS: usize = 32;

/// Why a tenant's configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A key is a known one but for its case.
    #[error("its key {key:?} is {known:?} in another case")]
    Case {
        /// The key.
        key: String,
        /// The known key.
        known: &'static str,
    },
    /// A plugin's configuration holds that of another plugin.
    #[error(
        "{at} names a plugin inside the configuration of another one, which a \
         NetworkAttachmentDefinition may not"
    )]
    Nested {
        /// The key.
        at: String,
    },
    /// A key of meta-ipam is the node's.
    #[error("its {at} is not for a NetworkAttachmentDefinition to say")]
    OfTheNode {
        /// The key.
        at: String,
    },
    /// The list has too many plugins.
    #[error("it has {count} plugins, and at most {PLUGINS} are allowed")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A file about a device is named.
    #[error("its {at} is set by meta-cni alone")]
    OfTheDevice {
        /// The key.
        at: String,
    },
    /// The key under which meta-cni files leases is set.
    #[error("its {at} is set by meta-cni alone")]
    LeaseKey {
        /// The key.
        at: String,
    },
    /// The plugin is this one.
    #[error("its plugin {name:?} is this one, which would call itself")]
    Ourselves {
        /// The plugin.
        name: String,
    },
    /// The plugin executes others, as its configuration says.
    #[error(
        "plugin {name:?} executes what its configuration says, which a NetworkAttachmentDefinition \
         may not"
    )]
    MetaPlugin {
        /// The plugin.
        name: String,
    },
    /// The plugin is not of the kind that its place needs.
    #[error("{at}: {name:?} cannot be the {place}")]
    WrongPlace {
        /// The plugin.
        name: String,
        /// What the place needs.
        place: &'static str,
        /// The key.
        at: String,
    },
    /// The node's administrator does not allow the plugin.
    #[error("plugin {name:?} is not in allowedPlugins{place}")]
    NotAllowed {
        /// The plugin.
        name: String,
        /// The key below `allowedPlugins`, if plugins are allowed by place.
        place: &'static str,
    },
}

impl Explain for Refusal {
    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Refusal::Case { known, .. } => return Some(format!("write {known:?}")),
            Refusal::Nested { .. } => "put the whole configuration into a file of confDir",
            Refusal::OfTheNode { .. } => "remove it, and put it in the node's ipam.yaml",
            Refusal::TooMany { .. } => "remove some",
            Refusal::OfTheDevice { .. } | Refusal::LeaseKey { .. } => "remove it",
            Refusal::Ourselves { .. } => {
                "name the configuration of another plugin (clusterNetwork, delegates)"
            }
            Refusal::MetaPlugin { name } => {
                return Some(format!(
                    "use the plugin that it would execute, or add {name:?} to allowedPlugins"
                ));
            }
            Refusal::WrongPlace { .. } => "name another plugin there",
            Refusal::NotAllowed { .. } => "add it there, or use another",
        };
        Some(remedy.to_owned())
    }
}

/// Checks the configuration of a NetworkAttachmentDefinition.
///
/// # Errors
/// The first [`Refusal`] in the order of the text.
pub fn check(config: &Config, list: &NetConfList) -> Result<(), Refusal> {
    if let Some((key, known)) = keys::in_another_case(list) {
        let key = key.to_owned();
        return Err(Refusal::Case { key, known });
    }
    if list.plugins.len() > PLUGINS {
        let count = list.plugins.len();
        return Err(Refusal::TooMany { count });
    }
    if let Some(at) = list.plugins.iter().find_map(info_file) {
        return Err(Refusal::OfTheDevice { at });
    }
    let all = placed(list);
    all.iter()
        .try_for_each(|one| check_one(config, one, &all))?;
    list.plugins.iter().try_for_each(check_lease)
}

/// Where a plugin's configuration names the file about its device: meta-cni alone does.
fn info_file(plugin: &PluginConf) -> Option<String> {
    let has = |conf: &Map<String, Value>| {
        let runtime = conf.get("runtimeConfig")?.as_object()?;
        runtime.contains_key("CNIDeviceInfoFile").then_some(())
    };
    let delegate = plugin.get("delegate").and_then(Value::as_object);
    let at = |begin: &str| format!("{begin}runtimeConfig.CNIDeviceInfoFile");
    let own = has(plugin.as_map()).map(|()| at(""));
    own.or_else(|| delegate.and_then(has).map(|()| at("delegate.")))
}

/// Where to lease, and by which files, is the node's to say.
fn check_lease(plugin: &PluginConf) -> Result<(), Refusal> {
    let of = |conf: &'_ Map<String, Value>| conf.get("ipam")?.as_object().cloned();
    let delegate = plugin.get("delegate").and_then(Value::as_object);
    for ipam in [of(plugin.as_map()), delegate.and_then(of)]
        .into_iter()
        .flatten()
    {
        if ipam.get("type").and_then(Value::as_str) != Some(META_IPAM) {
            continue;
        }
        let at = |key: &str| format!("ipam.{key}");
        if let Some(key) = node_file::KEYS.iter().find(|key| ipam.contains_key(**key)) {
            return Err(Refusal::OfTheNode { at: at(key) });
        }
        if ipam.contains_key(NETWORK) {
            return Err(Refusal::LeaseKey { at: at(NETWORK) });
        }
    }
    Ok(())
}

fn check_one(config: &Config, one: &Placed<'_>, all: &[Placed<'_>]) -> Result<(), Refusal> {
    let name = one.name.to_owned();
    let at = one.at.clone();
    if one.place == PluginRole::Nested {
        return Err(Refusal::Nested { at });
    }
    if is_ourselves(config, &name) {
        return Err(Refusal::Ourselves { name });
    }
    let allowed = config.allowed_plugins.as_ref();
    if META_PLUGINS.contains(&one.name) && allowed.is_none() {
        return Err(Refusal::MetaPlugin { name });
    }
    // An IPAM plugin that is the main plugin as well executes itself.
    let runs_itself = || {
        let others = all.iter().filter(|other| other.place != PluginRole::Ipam);
        others.into_iter().any(|other| other.name == one.name)
    };
    let is_wrong = match one.place {
        PluginRole::Ipam => NEVER_IPAM.contains(&one.name) || runs_itself(),
        _ => IPAM_ONLY.contains(&one.name),
    };
    if is_wrong {
        let place = one.place.as_str();
        return Err(Refusal::WrongPlace { name, place, at });
    }
    match allowed {
        Some(allowed) if !allowed.allows(one.name, one.place) => Err(Refusal::NotAllowed {
            name,
            place: allowed.key(one.place),
        }),
        _ => Ok(()),
    }
}

/// Whether a plugin is this program, as far as its name shows. Under another name it finds the mark of a
/// delegate in its environment.
pub(crate) fn is_ourselves(config: &Config, plugin: &str) -> bool {
    plugin == config.kind || plugin == "meta-cni"
}
