//! What a network or a pod asks for and is not allowed.

/// The most characters of a tenant's text that a message repeats.
const SHOWN: usize = 48;

/// Something that the rules do not allow. Each message fits behind "no AttachmentPolicy allows "; none says what a
/// policy allows instead: that is the node's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Breach {
    /// A plugin in its place.
    #[error("plugin {name:?} as the {place}")]
    Plugin {
        /// The plugin.
        name: String,
        /// The place.
        place: &'static str,
    },
    /// A key of a plugin's configuration.
    #[error("the key {key} of {plugin}")]
    Key {
        /// The plugin.
        plugin: String,
        /// The key.
        key: String,
    },
    /// A key that names a file of the node.
    #[error("the key {key} of {plugin}, which names a file of the node")]
    Path {
        /// The plugin.
        plugin: String,
        /// The key.
        key: String,
    },
    /// The value of a key.
    #[error("{key} {value:?} of {plugin}")]
    Value {
        /// The plugin.
        plugin: String,
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A key that is needed is absent.
    #[error("{plugin} without the key {key}")]
    Absent {
        /// The plugin.
        plugin: String,
        /// The key.
        key: &'static str,
    },
    /// A device without a device plugin.
    #[error("{plugin} without the annotation k8s.v1.cni.cncf.io/resourceName")]
    Device {
        /// The plugin.
        plugin: String,
    },
    /// Addresses that the pod asks for.
    #[error("addresses that a pod asks for (ips)")]
    Requested,
    /// Another default network.
    #[error("a default network that a pod chooses (v1.multus-cni.io/default-network)")]
    Override,
    /// Too many networks.
    #[error("{asked} networks of one pod, the most is {most}")]
    Networks {
        /// How many the pod names.
        asked: usize,
        /// How many it may.
        most: u32,
    },
    /// The policy cannot be read.
    #[error("anything while policy {name} cannot be read: {problem}")]
    Unreadable {
        /// The policy.
        name: String,
        /// Why.
        problem: String,
    },
}

impl Breach {
    pub(super) fn key(plugin: &str, key: &str) -> Breach {
        Breach::Key {
            plugin: short(plugin),
            key: short(key),
        }
    }

    pub(super) fn path(plugin: &str, key: &str) -> Breach {
        Breach::Path {
            plugin: short(plugin),
            key: short(key),
        }
    }

    pub(super) fn value(plugin: &str, key: &str, value: impl ToString) -> Breach {
        Breach::Value {
            plugin: short(plugin),
            key: short(key),
            value: short(&value.to_string()),
        }
    }
}

/// A text of a tenant, short and without control characters.
pub(super) fn short(text: &str) -> String {
    let shown = text.chars().take(SHOWN).map(|letter| match letter {
        letter if letter.is_control() => '?',
        letter => letter,
    });
    let mut shown: String = shown.collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
