//! Whether one policy allows the text of a network: its plugins in their places, their keys and values.

use cni::key;
use cni::netconf::NetConfList;
use crds::AttachmentPolicySpec;
use crds::attachment_policy::{Keys, PluginRule};
use serde_json::{Map, Value};

use super::breach::{Breach, short};
use super::prefix::lies_in;
use crate::ipam::config::TYPE as META_IPAM;
use crate::plugin_role::PluginRole;
use crate::tenant::{FLANNEL, placed};

/// Keys that every network may have, whatever `keys` says. In `ipam` only `type` is one.
const COMMON: [&str; 12] = [
    "args",
    "capabilities",
    "cniVersion",
    "cniVersions",
    "disableCheck",
    "disableGC",
    "ipam",
    "name",
    "plugins",
    "prevResult",
    "runtimeConfig",
    "type",
];

/// `type`, and what the node writes into `ipam` of meta-ipam: a definition that has it itself was refused before.
const OF_NODE: [&str; 7] = [
    "type",
    "network",
    "node",
    "server",
    "stateDir",
    "timeoutSeconds",
    "tls",
];

/// Keys that name files, folders and sockets of the node, of the plugins of several projects. A value that is an absolute
/// path makes any other key one of them.
const PATHS: [&str; 24] = [
    "binDir",
    "cniDir",
    "confDir",
    "configuration_path",
    "daemonSocketPath",
    "dataDir",
    "etcd_ca_cert_file",
    "etcd_cert_file",
    "etcd_key_file",
    "kubeconfig",
    "kubernetes",
    "logFile",
    "log_file",
    "log_file_path",
    "networksDir",
    "readinessindicatorfile",
    "resolvConf",
    "server",
    "socketFile",
    "socket_file",
    "stateDir",
    "subnetFile",
    "tls",
    "vhostSocketDir",
];

/// Keys that name a device of the node.
const DEVICES: [&str; 6] = [
    "auxDevice",
    "device",
    "deviceID",
    "hwaddr",
    "kernelpath",
    "pciBusID",
];

/// A network as rules judge it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    /// Its configuration, nothing put in yet.
    pub(super) list: &'a NetConfList,
    /// Whether its device comes from a device plugin.
    pub(super) has_resource: bool,
    /// Addresses that a pod asks of it.
    pub(super) requested: &'a [String],
}

/// Whether `rules` allow the network.
pub(super) fn check(rules: &AttachmentPolicySpec, text: Text<'_>) -> Result<(), Breach> {
    for one in placed(text.list) {
        let names = match one.place {
            PluginRole::Main => &rules.plugins.main,
            PluginRole::Chained => &rules.plugins.chained,
            PluginRole::Ipam => &rules.plugins.ipam,
            PluginRole::Nested => &Vec::new(),
        };
        if !names.iter().any(|name| name == one.name) {
            let (name, place) = (short(one.name), one.place.as_str());
            return Err(Breach::Plugin { name, place });
        }
    }
    let mut plugins = text.list.plugins.iter();
    plugins.try_for_each(|plugin| check_plugin(rules, text, plugin.as_map()))
}

fn check_plugin(
    rules: &AttachmentPolicySpec,
    text: Text<'_>,
    conf: &Map<String, Value>,
) -> Result<(), Breach> {
    let kind = string(conf, "type").unwrap_or_default();
    let of = Judge::new(rules, text, kind, conf);
    of.check_keys(&COMMON)?;
    of.check_values()?;
    if let Some(ipam) = key::value_of(conf, "ipam").and_then(Value::as_object) {
        let kind = string(ipam, "type").unwrap_or_default();
        let of = Judge::new(rules, text, kind, ipam);
        of.check_keys(match kind {
            META_IPAM => &OF_NODE,
            _ => &OF_NODE[..1],
        })?;
        of.check_addresses(conf)?;
    }
    match key::value_of(conf, "delegate").and_then(Value::as_object) {
        Some(delegate) if kind == FLANNEL => check_plugin(rules, text, delegate),
        _ => Ok(()),
    }
}

/// One configuration, of a plugin or of an IPAM plugin, before one policy.
struct Judge<'a> {
    rules: &'a AttachmentPolicySpec,
    text: Text<'a>,
    kind: &'a str,
    conf: &'a Map<String, Value>,
    rule: Option<&'a PluginRule>,
}

impl<'a> Judge<'a> {
    fn new(
        rules: &'a AttachmentPolicySpec,
        text: Text<'a>,
        kind: &'a str,
        conf: &'a Map<String, Value>,
    ) -> Judge<'a> {
        let rule = rules.types.iter().find(|rule| rule.kind == kind);
        Judge {
            rules,
            text,
            kind,
            conf,
            rule,
        }
    }

    /// Whether a key is allowed by its name: nothing else allows a path of the node.
    fn is_named(&self, name: &str) -> bool {
        let keys = self.rule.and_then(|rule| rule.keys.as_ref());
        let allowed = keys.and_then(|keys| keys.allow.as_ref());
        allowed.is_some_and(|allowed| allowed.iter().any(|one| key::is(name, one)))
    }

    fn check_keys(&self, common: &[&str]) -> Result<(), Breach> {
        let has = |list: &[String], name: &str| list.iter().any(|one| key::is(name, one));
        for (name, value) in self.conf {
            if common.iter().any(|one| key::is(name, one)) {
                // `ipam` is judged by itself; the others hold no file that a plugin opens.
                continue;
            }
            let denied = match self.rule.and_then(|rule| rule.keys.as_ref()) {
                Some(Keys {
                    allow: Some(allow), ..
                }) => !has(allow, name),
                Some(Keys {
                    deny: Some(deny), ..
                }) => has(deny, name),
                _ => false,
            };
            if denied {
                return Err(Breach::key(self.kind, name));
            }
            let is_judged = self.kind == FLANNEL && key::is(name, "delegate");
            if !is_judged && !self.is_named(name) {
                self.check_paths(name, value)?;
            }
        }
        Ok(())
    }

    /// Whether a value names a file of the node, at any depth.
    fn check_paths(&self, name: &str, value: &Value) -> Result<(), Breach> {
        if PATHS.iter().any(|path| key::is(name, path)) {
            return Err(Breach::path(self.kind, name));
        }
        match value {
            Value::String(text) if is_path(text) => Err(Breach::path(self.kind, name)),
            Value::Array(items) => items
                .iter()
                .try_for_each(|item| self.check_paths(name, item)),
            Value::Object(fields) => {
                let mut fields = fields.iter();
                fields.try_for_each(|(name, value)| self.check_paths(name, value))
            }
            _ => Ok(()),
        }
    }

    /// Values of the keys of a main or chained plugin.
    fn check_values(&self) -> Result<(), Breach> {
        let rule = self.rule;
        if let Some(masters) = rule.and_then(|rule| rule.masters.as_ref()) {
            self.check_one_of("master", masters, None)?;
        }
        if let Some(bridges) = rule.and_then(|rule| rule.bridges.as_ref()) {
            self.check_one_of("bridge", bridges, Some("cni0"))?;
        }
        if self.kind == "tuning" {
            self.check_sysctls()?;
        }
        self.check_devices()
    }

    /// Whether the value of `name`, or its default, is in the list.
    fn check_one_of(
        &self,
        name: &'static str,
        list: &[String],
        default: Option<&str>,
    ) -> Result<(), Breach> {
        let value = match key::value_of(self.conf, name) {
            None | Some(Value::Null) => default.map(str::to_owned),
            Some(Value::String(text)) if text.is_empty() => default.map(str::to_owned),
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => return Err(Breach::value(self.kind, name, other)),
        };
        match value {
            Some(value) if matches(list, &value) => Ok(()),
            Some(value) => Err(Breach::value(self.kind, name, value)),
            None => Err(Breach::Absent {
                plugin: short(self.kind),
                key: name,
            }),
        }
    }

    /// tuning writes below /proc/sys with `.` for `/`, and takes names with `/` as well (its `tuning.go`).
    fn check_sysctls(&self) -> Result<(), Breach> {
        let Some(sysctls) = key::value_of(self.conf, "sysctl") else {
            return Ok(());
        };
        let Some(sysctls) = sysctls.as_object() else {
            return Err(Breach::value(self.kind, "sysctl", sysctls));
        };
        let list = self.rule.and_then(|rule| rule.sysctls.as_ref());
        for name in sysctls.keys() {
            let dotted = name.replace('/', ".");
            let is_plain = !dotted.starts_with('.') && !dotted.contains("..");
            if !is_plain || list.is_some_and(|list| !matches(list, &dotted)) {
                return Err(Breach::value(self.kind, "sysctl", name));
            }
        }
        Ok(())
    }

    /// A device comes from a device plugin, or is one that the policy lists.
    fn check_devices(&self) -> Result<(), Breach> {
        let listed = self.rule.and_then(|rule| rule.devices.as_ref());
        let is_host_device = self.kind == "host-device";
        let mut has_listed = false;
        for name in DEVICES {
            // `device` and `hwaddr` mean something else to other plugins.
            if !is_host_device && !["deviceID", "pciBusID"].contains(&name) {
                continue;
            }
            let Some(value) = key::value_of(self.conf, name).filter(|value| **value != Value::Null)
            else {
                continue;
            };
            let is_listed = name == "device"
                && value
                    .as_str()
                    .is_some_and(|text| listed.is_some_and(|list| matches(list, text)));
            let is_named = !is_host_device && self.is_named(name);
            if !is_listed && !is_named {
                return Err(Breach::value(self.kind, name, plain(value)));
            }
            has_listed |= is_listed;
        }
        match is_host_device && !has_listed && !self.text.has_resource {
            true => Err(Breach::Device {
                plugin: short(self.kind),
            }),
            false => Ok(()),
        }
    }

    /// Pools and addresses of an IPAM plugin; `plugin` is the configuration that its `ipam` is in.
    fn check_addresses(&self, plugin: &Map<String, Value>) -> Result<(), Breach> {
        if let (META_IPAM, Some(pools)) = (self.kind, &self.rules.pools) {
            for name in ["pool", "pools"] {
                for pool in key::value_of(self.conf, name).into_iter().flat_map(items) {
                    if !pool.as_str().is_some_and(|pool| matches(pools, pool)) {
                        return Err(Breach::value(self.kind, name, plain(pool)));
                    }
                }
            }
        }
        let Some(prefixes) = self.rule.and_then(|rule| rule.prefixes.as_ref()) else {
            return Ok(());
        };
        let addresses = match self.kind {
            "static" => self.static_addresses(plugin),
            _ => self.ranges(),
        };
        for (name, address) in addresses {
            if !address.as_str().is_some_and(|text| lies_in(text, prefixes)) {
                return Err(Breach::value(self.kind, name, plain(&address)));
            }
        }
        Ok(())
    }

    /// Every address that static would set (its `main.go`: `addresses`, CNI_ARGS, `args.cni.ips`, `runtimeConfig.ips`).
    fn static_addresses(&self, plugin: &Map<String, Value>) -> Vec<(&'static str, Value)> {
        let listed = key::value_of(self.conf, "addresses")
            .into_iter()
            .flat_map(items);
        let listed = listed.map(|one| {
            one.as_object()
                .and_then(|one| key::value_of(one, "address"))
                .cloned()
        });
        let mut all: Vec<_> = listed
            .map(|one| ("address", one.unwrap_or_default()))
            .collect();
        let inside = |object: Option<&Value>, name: &str| {
            let object = object.and_then(Value::as_object)?;
            key::value_of(object, name).cloned()
        };
        let args = inside(key::value_of(plugin, "args"), "cni");
        let runtime = key::value_of(plugin, "runtimeConfig").cloned();
        for given in [args, runtime] {
            let ips = inside(given.as_ref(), "ips");
            all.extend(ips.iter().flat_map(items).map(|ip| ("ips", ip.clone())));
        }
        let requested = self.text.requested.iter();
        all.extend(requested.map(|ip| ("ips", Value::String(ip.clone()))));
        all
    }

    /// Every subnet of host-local (its `config.go`: the range beside the other keys, and `ranges`).
    fn ranges(&self) -> Vec<(&'static str, Value)> {
        let subnet = |range: &Map<String, Value>| key::value_of(range, "subnet").cloned();
        let mut all: Vec<_> = subnet(self.conf).into_iter().collect();
        let sets = key::value_of(self.conf, "ranges")
            .into_iter()
            .flat_map(items);
        for range in sets.flat_map(items) {
            all.push(range.as_object().and_then(subnet).unwrap_or_default());
        }
        all.into_iter().map(|subnet| ("subnet", subnet)).collect()
    }
}

/// The items of a list; another value is its own.
fn items(value: &Value) -> std::slice::Iter<'_, Value> {
    match value {
        Value::Array(items) => items.iter(),
        value => std::slice::from_ref(value).iter(),
    }
}

/// A text without its quotes, else the JSON.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn string<'a>(conf: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    key::value_of(conf, name).and_then(Value::as_str)
}

/// Whether a list has a name; `*` at the end of an item stands for any text.
fn matches(list: &[String], name: &str) -> bool {
    list.iter().any(|item| match item.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => item == name,
    })
}

fn is_path(text: &str) -> bool {
    text.starts_with('/')
        || text.starts_with("unix:")
        || text.starts_with("../")
        || text.contains("/../")
}
