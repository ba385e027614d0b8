//! The roles that a configuration gives to executables.

/// What a configuration names an executable for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginRole {
    /// The first plugin of a list.
    Main,
    /// A later plugin of a list.
    Chained,
    /// `ipam.type` of a plugin.
    Ipam,
    /// Anywhere else inside a plugin's configuration: a plugin that executes others may run it.
    Nested,
}

impl PluginRole {
    /// The role in words, for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            PluginRole::Main => "main plugin",
            PluginRole::Chained => "chained plugin",
            PluginRole::Ipam => "IPAM plugin",
            PluginRole::Nested => "plugin inside another one's configuration",
        }
    }
}
