//! `allowedPlugins`: the executables that networks may name.

use serde::Deserialize;

use crate::place::Place;

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
    pub fn allows(&self, plugin: &str, place: Place) -> bool {
        let names = match (self, place) {
            (AllowedPlugins::Anywhere(names), _) => names,
            (AllowedPlugins::ByPlace(by), Place::Main) => &by.main,
            (AllowedPlugins::ByPlace(by), Place::Chained) => &by.chained,
            (AllowedPlugins::ByPlace(by), Place::Ipam) => &by.ipam,
            (AllowedPlugins::ByPlace(_), Place::Nested) => return false,
        };
        names.iter().any(|name| name == plugin)
    }

    /// The key below `allowedPlugins` to which a plugin of this place is added, with its dot.
    pub fn key(&self, place: Place) -> &'static str {
        match (self, place) {
            (AllowedPlugins::Anywhere(_), _) | (_, Place::Nested) => "",
            (_, Place::Main) => ".main",
            (_, Place::Chained) => ".chained",
            (_, Place::Ipam) => ".ipam",
        }
    }
}

impl From<Vec<String>> for AllowedPlugins {
    fn from(names: Vec<String>) -> Self {
        AllowedPlugins::Anywhere(names)
    }
}
