//! The places in which configurations name executables.

/// Where a configuration names an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first plugin of a list.
    Main,
    /// A later plugin of a list.
    Chained,
    /// `ipam.type` of a plugin.
    Ipam,
    /// Anywhere else inside a plugin's configuration: a plugin that executes others may run it.
    Nested,
}

impl Place {
    /// The place in words, for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Place::Main => "main plugin",
            Place::Chained => "chained plugin",
            Place::Ipam => "IPAM plugin",
            Place::Nested => "plugin inside another one's configuration",
        }
    }
}
