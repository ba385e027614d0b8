//! What a network's configuration makes a process of root execute, and who wrote the configuration.
//!
//! A NetworkAttachmentDefinition is a tenant's; the files of this node and the keys of our own
//! configuration are the node's. This module finds every executable that a configuration names, with
//! its place; [`check`] refuses what a tenant may not name.

mod check;
mod keys;

use cni::key;
use cni::netconf::{NetConfList, PluginConf};
use serde_json::{Map, Value};

use crate::plugin_role::PluginRole;

pub(crate) use check::is_ourselves;
pub use check::{Refusal, check};

/// An executable that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// Its file name; empty if a nested list of plugins is the finding.
    pub name: &'a str,
    /// Its place.
    pub place: PluginRole,
    /// The key, for example `plugins[1].ipam.type`.
    pub at: String,
}

/// Every executable that `list` names, at any depth and in any case of the keys, in the order of the text.
pub fn placed(list: &NetConfList) -> Vec<Placed<'_>> {
    let mut found = Walk::default();
    let is_list = list.plugins.len() > 1;
    for (index, plugin) in list.plugins.iter().enumerate() {
        let place = if index == 0 {
            PluginRole::Main
        } else {
            PluginRole::Chained
        };
        let at = match is_list {
            true => format!("plugins[{index}]."),
            false => String::new(),
        };
        found.plugin(plugin.as_map(), place, &at);
        if plugin.plugin_type() == FLANNEL {
            found.of_flannel(plugin, &at);
        }
    }
    found.0
}

/// flannel's plugin writes a configuration of its own and executes the plugin that `delegate` describes
/// (flannel-io/cni-plugin, `flannel_linux.go`).
pub(crate) const FLANNEL: &str = "flannel";

/// Keys whose objects are configurations of other plugins, in plugins that execute others.
const LISTS: [&str; 3] = ["delegate", "delegates", "plugins"];

#[derive(Default)]
struct Walk<'a>(Vec<Placed<'a>>);

impl<'a> Walk<'a> {
    fn push(&mut self, name: &'a str, place: PluginRole, at: String) {
        self.0.push(Placed { name, place, at });
    }

    /// A plugin's whole configuration, which begins at `at`.
    fn plugin(&mut self, conf: &'a Map<String, Value>, place: PluginRole, at: &str) {
        let kind = key::value_of(conf, "type").and_then(Value::as_str);
        for (name, value) in conf {
            let here = format!("{at}{name}");
            match value {
                Value::String(text) if key::is(name, "type") => self.push(text, place, here),
                Value::Object(ipam) if key::is(name, "ipam") => self.ipam(ipam, &here),
                Value::Object(delegate) if kind == Some(FLANNEL) && key::is(name, "delegate") => {
                    self.plugin(delegate, PluginRole::Main, &format!("{here}."));
                }
                // Which kind of policy Calico uses; it executes nothing for it.
                Value::Object(_) if kind == Some("calico") && key::is(name, "policy") => {}
                value => self.nested(name, value, &here),
            }
        }
    }

    fn ipam(&mut self, ipam: &'a Map<String, Value>, at: &str) {
        for (name, value) in ipam {
            let here = format!("{at}.{name}");
            match value {
                Value::String(text) if key::is(name, "type") => {
                    if !text.is_empty() {
                        self.push(text, PluginRole::Ipam, here);
                    }
                }
                value => self.nested(name, value, &here),
            }
        }
    }

    /// Any other value, which stands at the key `name`.
    fn nested(&mut self, name: &str, value: &'a Value, at: &str) {
        match value {
            Value::Object(object) => {
                if is_list_of_plugins(name, value) {
                    self.push("", PluginRole::Nested, at.to_owned());
                }
                for (name, value) in object {
                    let here = format!("{at}.{name}");
                    match value {
                        Value::String(text) if key::is(name, "type") && !text.is_empty() => {
                            self.push(text, PluginRole::Nested, here);
                        }
                        value => self.nested(name, value, &here),
                    }
                }
            }
            Value::Array(items) => {
                if is_list_of_plugins(name, value) {
                    self.push("", PluginRole::Nested, at.to_owned());
                }
                for (index, item) in items.iter().enumerate() {
                    self.nested("", item, &format!("{at}[{index}]"));
                }
            }
            _ => {}
        }
    }

    /// What flannel's plugin executes if its configuration does not say.
    fn of_flannel(&mut self, plugin: &'a PluginConf, at: &str) {
        let delegate = plugin.get("delegate").and_then(Value::as_object);
        if delegate.is_none_or(|delegate| key::value_of(delegate, "type").is_none()) {
            self.push("bridge", PluginRole::Main, format!("{at}delegate"));
        }
        let ipam = delegate.and_then(|delegate| key::value_of(delegate, "ipam"));
        if plugin.ipam_type().is_none() && ipam.is_none() {
            self.push("host-local", PluginRole::Ipam, format!("{at}delegate"));
        }
    }
}

fn is_list_of_plugins(name: &str, value: &Value) -> bool {
    let is_one = |value: &Value| value.is_object();
    LISTS.iter().any(|list| key::is(name, list))
        && match value {
            Value::Array(items) => items.iter().any(is_one),
            value => is_one(value),
        }
}

#[cfg(test)]
mod tests;
