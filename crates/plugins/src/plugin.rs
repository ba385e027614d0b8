//! What a built-in plugin is: its type, its keys, and what it does for each command.

mod standard;

use std::time::Instant;

use cni::plugins::{Plugins, Target};
use cni::result::CniResult;
use cni::skel::Command;
use cni::version::Version;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::shape::{Others, Shape};

/// A plugin that is served in this process.
///
/// Every command is called on a thread that may wait. What a killed process leaves, DEL removes.
pub trait Plugin: Sync {
    /// Its type: `type` of a configuration, or of `ipam` in it.
    fn kind(&self) -> &'static str;

    /// The keys of its configuration beside [`crate::shape::STANDARD`].
    fn keys(&self) -> &'static [(&'static str, Shape)];

    /// Whose the other keys are: of an IPAM plugin's configuration those of the plugin that calls it.
    fn other_keys(&self) -> Others {
        Others::Refused
    }

    /// Why a configuration of known keys is left to the executable nevertheless; nothing if it is served here.
    fn leaves_to_executable(&self, _conf: &Map<String, Value>) -> Option<&'static str> {
        None
    }

    /// Whether DEL does no more to the sandbox than to remove the interface CNI_IFNAME, so that those of several attachments
    /// may be removed at once before.
    fn owns_interface(&self) -> bool {
        false
    }

    /// Checks all that can be checked before anything is made.
    ///
    /// # Errors
    /// [`Failure`] that names the field.
    fn validate(&self, request: &Request<'_>) -> Result<(), Failure>;

    /// ADD. Leaves nothing behind that it made if it fails.
    ///
    /// # Errors
    /// [`Failure`]: what was being done, and why it failed.
    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure>;

    /// DEL. What does not exist any more is no error.
    ///
    /// # Errors
    /// [`Failure`] if something of the attachment is left.
    fn del(&self, request: &Request<'_>) -> Result<(), Failure>;

    /// CHECK.
    ///
    /// # Errors
    /// [`Failure`] that names what is not as it was.
    fn check(&self, request: &Request<'_>) -> Result<(), Failure>;

    /// STATUS.
    ///
    /// # Errors
    /// [`Failure`] if no ADD can be served.
    fn status(&self, request: &Request<'_>) -> Result<(), Failure>;

    /// GC: removes what belongs to no attachment of the request's list.
    ///
    /// # Errors
    /// [`Failure`] if something is left.
    fn gc(&self, request: &Request<'_>) -> Result<(), Failure>;
}

/// One call of a built-in plugin.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// CNI_COMMAND.
    pub command: Command,
    /// CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME and CNI_ARGS.
    pub target: Target<'a>,
    /// The version of the configuration, in which the answer is written.
    pub version: Version,
    /// The configuration, its keys in the spelling of [`Plugin::keys`] and without those that are null.
    pub conf: &'a Map<String, Value>,
    /// The configuration as it came.
    pub stdin: &'a [u8],
    /// More variables of the environment for the plugins that it calls.
    pub variables: &'a [(&'a str, &'a str)],
    /// The plugins that it may call: the one of its `ipam`.
    pub plugins: &'a dyn Plugins,
    /// When its time is over.
    pub deadline: Instant,
}

impl Request<'_> {
    /// The configuration as the type's own struct. What every configuration may have is checked with it.
    ///
    /// # Errors
    /// [`Failure::Configuration`] if a value is not what its key asks for.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let refused = |source| Failure::Configuration { source };
        standard::check(self.conf).map_err(refused)?;
        let conf = Value::Object(self.conf.clone());
        serde_json::from_value(conf).map_err(refused)
    }

    /// `prevResult`, if there is one.
    ///
    /// # Errors
    /// [`Failure::PrevResult`] if it is not a result.
    pub fn prev_result(&self) -> Result<Option<CniResult>, Failure> {
        let given = self.conf.get("prevResult");
        given
            .map(|value| CniResult::from_value(value, self.version))
            .transpose()
            .map_err(|source| Failure::PrevResult { source })
    }

    /// `prevResult`, without which the command cannot be served.
    ///
    /// # Errors
    /// [`Failure::NoPrevResult`]; [`Failure::PrevResult`].
    pub fn needed_prev_result(&self) -> Result<CniResult, Failure> {
        self.prev_result()?.ok_or(Failure::NoPrevResult)
    }

    /// The value of the first pair of CNI_ARGS with this key, which is compared exactly; none if it is empty. The pair
    /// `IgnoreUnknown` is not needed: unknown pairs are always ignored.
    pub fn argument(&self, key: &str) -> Option<&str> {
        let mut pairs = self.target.args.split(';');
        pairs.find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            (name == key && !value.is_empty()).then_some(value)
        })
    }
}

/// An MTU: 0, as absent, is the kernel's choice.
///
/// # Errors
/// A negative one, or one that does not fit 32 bits.
pub(crate) fn mtu<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<Option<u32>, D::Error> {
    use serde::Deserialize as _;

    let given = u32::deserialize(reader)?;
    Ok((given > 0).then_some(given))
}
