//! `allowedPlugins`: the executables that networks may name.

use serde::Deserialize;

use crate::plugin_role::PluginRole;

/// The plugins that may be run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum AllowedPlugins {
    /// Names, each in any place that the plugin is made for.
    Anywhere(Vec<String>),
    /// Names by place.
    ByPlace(ByPlace),
}

/// The plugins that may be run, by place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ByPlace {
    /// First plugins of lists.
    pub main: Vec<String>,
    /// Later plugins of lists.
    pub chained: Vec<String>,
    /// IPAM plugins.
    pub ipam: Vec<String>,
}

impl AllowedPlugins {
    /// Whether `plugin` may be run in this place.
    pub fn allows(&self, plugin: &str, place: PluginRole) -> bool {
        let names = match (self, place) {
            (AllowedPlugins::Anywhere(names), _) => names,
            (AllowedPlugins::ByPlace(by), PluginRole::Main) => &by.main,
            (AllowedPlugins::ByPlace(by), PluginRole::Chained) => &by.chained,
            (AllowedPlugins::ByPlace(by), PluginRole::Ipam) => &by.ipam,
            (AllowedPlugins::ByPlace(_), PluginRole::Nested) => return false,
        };
        names.iter().any(|name| name == plugin)
    }

    /// The key below `allowedPlugins` to which a plugin of this place is added, with its dot.
    pub fn key(&self, place: PluginRole) -> &'static str {
        match (self, place) {
            (AllowedPlugins::Anywhere(_), _) | (_, PluginRole::Nested) => "",
            (_, PluginRole::Main) => ".main",
            (_, PluginRole::Chained) => ".chained",
            (_, PluginRole::Ipam) => ".ipam",
        }
    }
}

impl From<Vec<String>> for AllowedPlugins {
    fn from(names: Vec<String>) -> Self {
        AllowedPlugins::Anywhere(names)
    }
}
