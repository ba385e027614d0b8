//! Keys in an unusual case. Plugins in Go read a key in any case, and merge two objects whose keys differ
//! in case only: what is checked here and what the plugin reads could differ.

use cni::key;
use cni::netconf::NetConfList;
use serde_json::{Map, Value};

/// The keys that decide what is executed, opened or changed.
const KNOWN: [&str; 51] = [
    "agentSocket",
    "args",
    "binDir",
    "bridge",
    "capabilities",
    "clusterNetwork",
    "CNIDeviceInfoFile",
    "cniDir",
    "cniVersion",
    "cniVersions",
    "confDir",
    "daemonSocketPath",
    "dataDir",
    "defaultNetworks",
    "delegate",
    "delegates",
    "device",
    "deviceID",
    "disableCheck",
    "disableGC",
    "dns",
    "families",
    "hwaddr",
    "ipam",
    "kernelpath",
    "kubeconfig",
    "kubernetes",
    "loadOnlyInlinedPlugins",
    "logFile",
    "master",
    "multusNamespace",
    "name",
    "network",
    "networksDir",
    "node",
    "pciBusID",
    "plugins",
    "pool",
    "pools",
    "prevResult",
    "ranges",
    "resolvConf",
    "runtimeConfig",
    "server",
    "serverName",
    "stateDir",
    "subnetFile",
    "sysctl",
    "timeoutSeconds",
    "tls",
    "type",
];

/// The first key of a plugin, of its `ipam`, `runtimeConfig` or `delegate` that is a known one in another case, with
/// the known one.
pub(super) fn in_another_case(list: &NetConfList) -> Option<(&str, &'static str)> {
    let mut plugins = list.plugins.iter();
    plugins.find_map(|plugin| of_object(plugin.as_map()))
}

fn of_object(object: &Map<String, Value>) -> Option<(&str, &'static str)> {
    object.iter().find_map(|(name, value)| {
        let known = KNOWN.iter().find(|known| key::is(name, known));
        match known {
            Some(known) if known != name => Some((name.as_str(), *known)),
            Some(&("ipam" | "delegate" | "runtimeConfig")) => value.as_object().and_then(of_object),
            _ => None,
        }
    })
}
