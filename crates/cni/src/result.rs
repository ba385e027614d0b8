//! The result of an ADD, in one shape for all versions of the specification.
//!
//! [`CniResult`] holds what CNI 1.1 can say, and so everything that an older version can say.
//! `read` turns the JSON of any version into it, `write` turns it into the JSON of any version; what
//! is lost on the way down is what libcni 1.3 (`types/100`, `types/040`, `types/020`) loses.
//! Follows the CNI specification, section 5, "Result Types".

mod object;
#[cfg(test)]
mod properties;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde_json::Value;

use crate::version::Version;

/// What a successful ADD made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CniResult {
    /// The interfaces made, on the host and in the sandbox, in the plugin's order.
    pub interfaces: Vec<Interface>,
    /// The addresses of the attachment, in the plugin's order.
    pub ips: Vec<IpConfig>,
    /// The routes made in the sandbox.
    pub routes: Vec<Route>,
    /// How names are resolved on this network.
    pub dns: Dns,
}

/// An interface that a plugin made.
///
/// An optional text that is empty, and an MTU of 0, count as absent, as they do in libcni.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Its name; never empty.
    pub name: String,
    /// Its hardware address, in the plugin's spelling.
    pub mac: Option<String>,
    /// Its MTU in bytes (1.1).
    pub mtu: Option<u32>,
    /// The network namespace it is in; none if it is on the host.
    pub sandbox: Option<String>,
    /// The socket file of a userspace interface (1.1).
    pub socket_path: Option<String>,
    /// The PCI address of the device (1.1).
    pub pci_id: Option<String>,
}

/// An address that a plugin assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IpConfig {
    /// Which of [`CniResult::interfaces`] has it.
    pub interface: Option<usize>,
    /// The address itself, host bits kept, with the prefix length of its subnet.
    pub address: IpNetwork,
    /// The gateway of its subnet.
    pub gateway: Option<IpAddr>,
}

impl IpConfig {
    /// An address with nothing else said of it.
    pub fn of(address: IpNetwork) -> IpConfig {
        IpConfig {
            interface: None,
            address,
            gateway: None,
        }
    }
}

impl Route {
    /// A route to `dst` over `gw`, with nothing else said of it.
    pub fn via(dst: IpNetwork, gw: Option<IpAddr>) -> Route {
        Route {
            dst,
            gw,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }
    }
}

/// A route that a plugin made.
///
/// An `mtu`, `advmss` or `priority` of 0 counts as absent, as it does in libcni.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// The destination.
    pub dst: IpNetwork,
    /// The next hop; none means the gateway of the address of the same family.
    pub gw: Option<IpAddr>,
    /// The MTU along the path in bytes (1.1).
    pub mtu: Option<u32>,
    /// The maximal segment size to advertise, in bytes (1.1).
    pub advmss: Option<u32>,
    /// The priority; lower wins (1.1).
    pub priority: Option<i64>,
    /// The routing table (1.1).
    pub table: Option<i64>,
    /// The scope, by the kernel's numbers (1.1).
    pub scope: Option<i64>,
}

/// How names are resolved on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dns {
    /// Addresses of name servers, the preferred first.
    pub nameservers: Vec<String>,
    /// The local domain.
    pub domain: Option<String>,
    /// Search domains, the preferred first.
    pub search: Vec<String>,
    /// Options for the resolver.
    pub options: Vec<String>,
}

/// Why a result could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// There was no text at all.
    #[error("the plugin printed nothing where its result was expected")]
    Empty,
    /// The text is not JSON.
    #[error("the plugin's result is not JSON")]
    Syntax {
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A field is absent or not what it must be.
    #[error("the plugin's result is invalid: {field} must be {expected}, not {found}")]
    Invalid {
        /// Where it stands, for example `ips[1].address`.
        field: String,
        /// What the specification asks for there.
        expected: &'static str,
        /// The value that was found, shortened.
        found: String,
    },
    /// An address names an interface that is not in the list.
    #[error("the result is invalid: {field} is {index}, but it lists {interfaces} interfaces")]
    NoSuchInterface {
        /// Where it stands, for example `ips[1].interface`.
        field: String,
        /// The index, counted from 0.
        index: usize,
        /// How many interfaces the result lists.
        interfaces: usize,
    },
    /// Results before 0.3.0 cannot say that there is no address.
    #[error(
        "a result without an address cannot be written in CNI version {version}; \
         use version 0.3.1 or newer for networks without addresses"
    )]
    NoAddress {
        /// The version asked for.
        version: Version,
    },
}

impl CniResult {
    /// Reads a result object; its own `cniVersion` decides the shape, else `default`.
    ///
    /// Unknown fields are ignored. A field that is null is absent, unless an object belongs there.
    /// IPv4 addresses that are written as IPv4-mapped IPv6 become IPv4.
    /// `ips[].version` (0.3.0 to 0.4.0) may be missing: the address says its family itself.
    ///
    /// # Errors
    /// [`ResultError::Invalid`] names the first field that is not as the specification has it;
    /// [`ResultError::NoSuchInterface`] the first address on an interface that is not listed.
    pub fn from_value(value: &Value, default: Version) -> Result<CniResult, ResultError> {
        let result = read::result(value, default)?;
        result.check_indices()?;
        Ok(result)
    }

    /// Reads what a plugin printed; as [`CniResult::from_value`].
    ///
    /// # Errors
    /// [`ResultError::Empty`] if there is nothing but white space, [`ResultError::Syntax`] if it is not
    /// JSON; else as [`CniResult::from_value`].
    pub fn parse(bytes: &[u8], default: Version) -> Result<CniResult, ResultError> {
        if bytes.trim_ascii().is_empty() {
            return Err(ResultError::Empty);
        }
        let value =
            serde_json::from_slice(bytes).map_err(|source| ResultError::Syntax { source })?;
        Self::from_value(&value, default)
    }

    /// The result as JSON in the shape of `version`, `cniVersion` included.
    ///
    /// What is lost, as in libcni: before 1.0.0 the MTU, socket and PCI address of interfaces; before
    /// 0.3.0 also the interfaces, all but the first address of each family, routes of a family that has
    /// no address, and of the other routes all but `dst` and `gw`.
    ///
    /// # Errors
    /// [`ResultError::NoAddress`] if there is no address and `version` is older than 0.3.0;
    /// [`ResultError::NoSuchInterface`] if an address is on an interface that is not listed.
    pub fn to_value(&self, version: Version) -> Result<Value, ResultError> {
        self.check_indices()?;
        write::result(self, version)
    }

    fn check_indices(&self) -> Result<(), ResultError> {
        let interfaces = self.interfaces.len();
        for (position, ip) in self.ips.iter().enumerate() {
            if let Some(index) = ip.interface.filter(|index| *index >= interfaces) {
                return Err(ResultError::NoSuchInterface {
                    field: format!("ips[{position}].interface"),
                    index,
                    interfaces,
                });
            }
        }
        Ok(())
    }
}

impl Dns {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self == &Dns::default()
    }

    /// As JSON, without empty keys; the same in every version.
    pub fn to_value(&self) -> Value {
        write::dns(self)
    }
}
