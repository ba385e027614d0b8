//! The addresses that a pod asks for, in `IP` of CNI_ARGS: which plugins can read how many of them.
//! The convention (CNI "Conventions", CNI_ARGS) knows one address; most plugins that read `IP` take a
//! list with commas.

use std::borrow::Cow;

use crate::args::Args;
use crate::netconf::PluginConf;

/// The IPAM plugin that fails, at ADD and at DEL, if `IP` holds more than one address (`IPEnvArgs` of
/// containernetworking/plugins, plugins/ipam/host-local/backend/allocator/config.go).
const READS_ONE: &str = "host-local";
/// The plugin that always has its addresses from host-local, which its configuration does not name
/// (flannel-io/cni-plugin).
const USES_HOST_LOCAL: &str = "flannel";

/// Whether the plugin, or its IPAM plugin, can read only one address in `IP`.
pub fn reads_one(plugin: &PluginConf) -> bool {
    plugin.ipam_type() == Some(READS_ONE) || plugin.plugin_type() == USES_HOST_LOCAL
}

/// Whether all of several addresses reach the plugin: in `IP`, or by the capability `ips`.
pub fn reads_several(plugin: &PluginConf) -> bool {
    !reads_one(plugin) || plugin.has_capability("ips")
}

/// CNI_ARGS for one plugin: without several addresses in `IP` that it cannot read.
pub(super) fn args_of<'a>(plugin: &PluginConf, args: &'a str) -> Cow<'a, str> {
    if !reads_one(plugin) {
        return Cow::Borrowed(args);
    }
    match Args::parse(args) {
        Ok(mut read) if read.get("IP").is_some_and(|ips| ips.contains(',')) => {
            read.remove("IP");
            Cow::Owned(read.to_string())
        }
        _ => Cow::Borrowed(args),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plugin(conf: Value) -> PluginConf {
        PluginConf::new(conf, "").unwrap()
    }

    #[test]
    fn several_addresses_reach_every_plugin_but_those_that_read_one() {
        let (one, pair) = ("A=1;IP=10.0.0.9/24;B=2", "A=1;IP=10.0.0.9,fd00::9;B=2");
        let cases = [
            ("no IPAM", json!({"type": "tuning"}), pair),
            (
                "whereabouts",
                json!({"type": "bridge", "capabilities": {"ips": true}, "ipam": {"type": "whereabouts"}}),
                pair,
            ),
            (
                "host-local",
                json!({"type": "bridge", "ipam": {"type": "host-local"}}),
                "A=1;B=2",
            ),
            (
                "host-local by capability",
                json!({"type": "bridge", "capabilities": {"ips": true}, "ipam": {"type": "host-local"}}),
                "A=1;B=2",
            ),
            (
                "host-local behind flannel",
                json!({"type": "flannel"}),
                "A=1;B=2",
            ),
            ("odd ipam", json!({"type": "bridge", "ipam": 7}), pair),
        ];
        for (name, conf, expected) in cases {
            let plugin = plugin(conf);
            assert_eq!(args_of(&plugin, pair), expected, "{name}");
            assert_eq!(args_of(&plugin, one), one, "{name}: one address");
            assert_eq!(args_of(&plugin, ""), "", "{name}: no arguments");
        }
    }

    #[test]
    fn a_plugin_that_reads_one_has_several_by_capability_only() {
        let ipam = json!({"type": "host-local"});
        let plain = plugin(json!({"type": "bridge", "ipam": ipam}));
        let declares =
            plugin(json!({"type": "bridge", "ipam": ipam, "capabilities": {"ips": true}}));
        assert!(!reads_several(&plain) && reads_several(&declares));
        assert!(reads_several(&plugin(
            json!({"type": "macvlan", "ipam": {"type": "static"}})
        )));
    }
}
