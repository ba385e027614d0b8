//! Why a built-in plugin failed, and the one place where that becomes an error object.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use cni::error::{Code, ErrorObject, with_causes};
use cni::plugins::PluginError;
use cni::result::ResultError;
use cni::version::Version;
use ipnetwork::IpNetwork;
use netlink::NetlinkError;
use netlink::netns::NetnsError;

use crate::host_local::LeaseError;

/// A built-in plugin that failed.
///
/// The codes are the reference plugins': 999 for most, whatever failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A value is not of the type that its key asks for.
    #[error("the configuration cannot be read")]
    Configuration {
        /// Which and why.
        #[source]
        source: serde_json::Error,
    },
    /// A key has a value that cannot be served.
    #[error("{field}: {problem}")]
    Field {
        /// The key, for example `vlanTrunk[1].maxID`.
        field: String,
        /// What is wrong with it, and what to write.
        problem: String,
    },
    /// The plugin does not have the configuration's version.
    #[error("this plugin does not have cniVersion {version}; use {oldest} or newer")]
    OldVersion {
        /// That of the configuration.
        version: Version,
        /// The oldest that it has.
        oldest: Version,
    },
    /// The command is about a result, and none was given.
    #[error("prevResult is missing; the runtime must give the result of the ADD")]
    NoPrevResult,
    /// `prevResult` is not a result.
    #[error("prevResult cannot be read")]
    PrevResult {
        /// Why not.
        #[source]
        source: ResultError,
    },
    /// The answer cannot be written in the configuration's version.
    #[error("the result cannot be written")]
    Result {
        /// Why not.
        #[source]
        source: ResultError,
    },
    /// The network namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// CNI_NETNS is the namespace of the plugin itself.
    #[error(
        "CNI_NETNS {path} is the network namespace of the host; the runtime must name that of the container"
    )]
    OwnNamespace {
        /// CNI_NETNS.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A link does not exist.
    #[error("interface {name:?} does not exist; {remedy}")]
    NoLink {
        /// Its name.
        name: String,
        /// What to do.
        remedy: &'static str,
    },
    /// No link belongs to a device.
    #[error("there is no network device at {place}; check what the node has")]
    NoDevice {
        /// Where it was searched: a folder of sysfs, or a hardware address.
        place: String,
    },
    /// A link cannot get its name.
    #[error("an interface {name:?} exists in {place} already; remove it or rename it")]
    NameInUse {
        /// The name.
        name: String,
        /// Where: `the host`, for example.
        place: &'static str,
    },
    /// A device is to go back to the host, and nothing says under which name.
    #[error(
        "{name:?} has no alias that says its name on the host; move it back by hand (ip link set … netns)"
    )]
    NoFormerName {
        /// Its name in the sandbox.
        name: String,
    },
    /// A link is of another kind than the configuration needs.
    #[error("{name:?} exists but is not a {kind}; name another one, or remove it")]
    WrongKind {
        /// Its name.
        name: String,
        /// The kind that is needed.
        kind: &'static str,
    },
    /// A link is a port already.
    #[error("{link:?} is a port of another link already; take it out there first")]
    HasController {
        /// The link.
        link: String,
    },
    /// A kernel setting cannot be read or written.
    #[error("cannot write the kernel setting {path}")]
    Sysctl {
        /// Its file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file of the plugin cannot be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// What was being done, for example `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An address cannot be leased.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The plugin for addresses failed.
    #[error("IPAM plugin {plugin:?}")]
    Ipam {
        /// `ipam.type`.
        plugin: String,
        /// Why.
        #[source]
        source: Box<PluginError>,
    },
    /// The plugin for addresses gave what is no result.
    #[error("IPAM plugin {plugin:?} returned something that is not a CNI result")]
    IpamResult {
        /// `ipam.type`.
        plugin: String,
        /// What is wrong with it.
        #[source]
        source: ResultError,
    },
    /// The plugin for addresses gave none.
    #[error("IPAM plugin {plugin:?} returned no address")]
    NoAddress {
        /// `ipam.type`.
        plugin: String,
    },
    /// An address that duplicate detection found in use by another host.
    #[error("{address} on {link} is used by another host of the network; lease another address")]
    Duplicate {
        /// The link.
        link: String,
        /// The address.
        address: IpAddr,
    },
    /// An address that nothing can use yet when the time was over.
    #[error(
        "{link} still has tentative addresses; check what its network does with neighbour solicitations"
    )]
    Tentative {
        /// The link.
        link: String,
    },
    /// A link that has to have another address of the family.
    #[error(
        "{link:?} has the address {found}, not {wanted}; set forceAddress, or name another bridge"
    )]
    OtherAddress {
        /// The link.
        link: String,
        /// The address that it has.
        found: IpNetwork,
        /// The one that it must have.
        wanted: IpNetwork,
    },
    /// A link has no carrier although both of its ends are up.
    #[error("{link:?} does not come up; check its bridge and the log of the kernel")]
    NoCarrier {
        /// The link.
        link: String,
    },
    /// CHECK found something that is not as the result says.
    #[error("{what}; delete the pod, so that it is made anew")]
    Changed {
        /// What it is.
        what: String,
    },
    /// The plugin panicked.
    #[error(
        "the built-in plugin came upon a fault of its own, which standard error names; report it, and set builtinPlugins to \"off\" until it is mended"
    )]
    Fault,
    /// More than one thing failed.
    #[error("{}", .0.iter().map(|one| with_causes(one)).collect::<Vec<_>>().join("; "))]
    Several(Vec<Failure>),
}

impl Failure {
    /// A key whose value cannot be served.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> Failure {
        Failure::Field {
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// What CHECK found.
    pub fn changed(what: impl Into<String>) -> Failure {
        Failure::Changed { what: what.into() }
    }

    /// The error object that the caller gets. An error object of the plugin for addresses is passed on.
    pub fn to_object(&self) -> ErrorObject {
        if let Failure::Ipam { source, .. } = self
            && let PluginError::Failed { object, .. } = source.as_ref()
        {
            return object.clone();
        }
        let code = match self {
            Failure::OwnNamespace { .. } => Code::INVALID_NETNS,
            Failure::OldVersion { .. } => Code::INCOMPATIBLE_VERSION,
            _ => Code::INTERNAL,
        };
        ErrorObject::new(code, with_causes(self))
    }
}
