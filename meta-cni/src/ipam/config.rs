//! The `ipam` object of a plugin's configuration, if its `type` is `meta-ipam`.

use std::path::PathBuf;
use std::time::Duration;

use cni::key;
use dial::address::{AddressError, Target};
use dial::files::{Files, Names};
use dial::several::Addresses;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::diagnosis::{Diagnosis, Explain};

/// The plugin's name, as `ipam.type` gives it.
pub const TYPE: &str = "meta-ipam";

/// The key that names the network under which leases are filed, if that is not the configuration's name.
pub(crate) const NETWORK: &str = "network";

/// Where leases are asked for on a node, if nothing else is said.
pub const SOCKET: &str = "/run/meta-cni/ipam.sock";

/// The most that a call may take.
pub(crate) const LONGEST_SECONDS: u64 = 60;

/// Where to lease from, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct IpamConfig {
    /// Pools, in the order to try.
    pub pools: Vec<String>,
    /// Who leases.
    pub server: Server,
    /// For a call, connecting included.
    pub timeout: Duration,
    /// Where releases wait: below it, in `releases`.
    pub state_dir: PathBuf,
    /// `BOTH`, `V4`, `V6`, `ANY`; none: as the pool says.
    pub families: Option<String>,
    /// The node's name, if it is not the host's.
    pub node: Option<String>,
}

/// A server, or several of one store, and how they are trusted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Server {
    /// `unix:///path`, `https://host:port`, or `http://` on loopback; several with commas.
    pub address: String,
    /// Certificates of an `https` server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl Server {
    /// The files of an `https` server, as [`IpamConfig::of`] made sure they are there.
    pub fn files(&self) -> Option<Files> {
        let tls = self
            .tls
            .as_ref()
            .filter(|_| self.address.contains("https://"))?;
        Some(Files {
            ca: tls.ca.clone()?,
            identity: tls.cert.clone().zip(tls.key.clone()),
            names: Names {
                ca: "ipam.tls.ca",
                cert: "ipam.tls.cert",
                key: "ipam.tls.key",
            },
        })
    }
}

/// PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Authorities of the server.
    pub ca: Option<PathBuf>,
    /// The client's certificate.
    pub cert: Option<PathBuf>,
    /// The key of that.
    pub key: Option<PathBuf>,
}

/// Addresses as they are written: a text, which may have several with commas, or a list of texts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "must be an address or a list of addresses")]
pub(super) enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

impl OneOrSeveral {
    /// As one text.
    pub(super) fn to_text(&self) -> String {
        match self {
            OneOrSeveral::One(text) => text.clone(),
            OneOrSeveral::Several(texts) => texts.join(","),
        }
    }
}

/// The object as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    pool: Option<String>,
    #[serde(default)]
    pools: Vec<String>,
    #[serde(default)]
    server: Option<OneOrSeveral>,
    #[serde(default)]
    tls: Option<Tls>,
    #[serde(default)]
    timeout_seconds: Option<u64>,
    #[serde(default)]
    state_dir: Option<PathBuf>,
    #[serde(default)]
    families: Option<String>,
    #[serde(default)]
    node: Option<String>,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ipam.{field}: {}", .problem.cause)]
pub struct IpamConfigError {
    /// The key.
    pub field: String,
    /// What is wrong, and what it should be.
    pub problem: Diagnosis,
}

impl Explain for IpamConfigError {
    fn remedy(&self) -> Option<String> {
        self.problem.remedy.clone()
    }
}

impl IpamConfig {
    /// Reads the `ipam` object of a plugin's configuration; nothing if it is another plugin's.
    ///
    /// # Errors
    /// [`IpamConfigError`] names the key.
    pub fn of(conf: &Map<String, Value>) -> Result<Option<IpamConfig>, IpamConfigError> {
        let Some(ipam) = ours(conf) else {
            return Ok(None);
        };
        let config = read(ipam)?;
        if config.pools.is_empty() || config.pools.iter().any(String::is_empty) {
            return Err(wrong(
                "pool",
                "name the pool to lease from, as `ipamctl pool list` shows it",
            ));
        }
        Ok(Some(config))
    }

    /// The same for a release, without what only leasing needs: a network that never could lease must not keep its
    /// sandboxes from being deleted.
    ///
    /// # Errors
    /// [`IpamConfigError`] names the key.
    pub fn of_release(conf: &Map<String, Value>) -> Result<Option<IpamConfig>, IpamConfigError> {
        let Some(ipam) = ours(conf) else {
            return Ok(None);
        };
        let mut needed = ipam.clone();
        for key in ["pool", "pools", "families", "node", NETWORK] {
            needed.as_object_mut().and_then(|keys| keys.remove(key));
        }
        read(&needed).map(Some)
    }
}

fn ours(conf: &Map<String, Value>) -> Option<&Value> {
    let ipam = key::value_of(conf, "ipam")?;
    let kind = key::value_of(ipam.as_object()?, "type");
    (kind.and_then(Value::as_str) == Some(TYPE)).then_some(ipam)
}

fn wrong(field: &str, problem: impl Into<Diagnosis>) -> IpamConfigError {
    IpamConfigError {
        field: field.to_owned(),
        problem: problem.into(),
    }
}

fn read(ipam: &Value) -> Result<IpamConfig, IpamConfigError> {
    let written: Written = serde_path_to_error::deserialize(ipam.clone())
        .map_err(|error| wrong(&error.path().to_string(), error.into_inner().to_string()))?;
    let mut pools = written.pools;
    if let Some(pool) = written.pool {
        if !pools.is_empty() {
            return Err(wrong("pool", "give pool or pools, not both"));
        }
        pools.push(pool);
    }
    let address = written.server.map(|server| server.to_text());
    let address = address.unwrap_or_else(|| format!("unix://{SOCKET}"));
    let read = check_address(&address, written.tls.is_some());
    let read = read.map_err(|problem| wrong("server", problem))?;
    check_tls(&read, written.tls.as_ref())?;
    if ipam
        .get(NETWORK)
        .is_some_and(|network| !network.is_string())
    {
        return Err(wrong(NETWORK, "must be a string"));
    }
    let seconds = written.timeout_seconds.unwrap_or(5);
    check_seconds(seconds)?;
    if let Some(families) = &written.families
        && !["BOTH", "V4", "V6", "ANY"].contains(&families.as_str())
    {
        return Err(wrong(
            "families",
            format!("{families:?} is not BOTH, V4, V6 or ANY"),
        ));
    }
    Ok(IpamConfig {
        pools,
        server: Server {
            address,
            tls: written.tls,
        },
        timeout: Duration::from_secs(seconds),
        state_dir: written
            .state_dir
            .unwrap_or_else(|| "/var/lib/meta-cni".into()),
        families: written.families,
        node: written.node,
    })
}

/// Whether a call may take so long.
pub(super) fn check_seconds(seconds: u64) -> Result<(), IpamConfigError> {
    match (1..=LONGEST_SECONDS).contains(&seconds) {
        true => Ok(()),
        false => Err(wrong(
            "timeoutSeconds",
            format!("{seconds} is not from 1 to {LONGEST_SECONDS}"),
        )),
    }
}

/// Whether the files are there that an `https` server needs.
pub(super) fn check_tls(address: &Addresses, tls: Option<&Tls>) -> Result<(), IpamConfigError> {
    let missing = |field: &str, problem: &str, remedy: &str| IpamConfigError {
        field: format!("tls.{field}"),
        problem: Diagnosis::new(problem, remedy),
    };
    let none = Tls::default();
    let tls = tls.unwrap_or(&none);
    if address.is_tls() && tls.ca.is_none() {
        let remedy = "give the file of its authorities, PEM";
        return Err(missing("ca", "an https server is trusted by it", remedy));
    }
    match (&tls.cert, &tls.key) {
        (Some(_), None) => Err(missing("key", "goes together with tls.cert", "give both")),
        (None, Some(_)) => Err(missing("cert", "goes together with tls.key", "give both")),
        _ => Ok(()),
    }
}

/// Reads the addresses of a server; files for TLS go with `https` only.
///
/// # Errors
/// What is wrong and what the addresses should be.
pub fn check_address(address: &str, tls: bool) -> Result<Addresses, String> {
    let read: Addresses = address
        .parse()
        .map_err(|error: AddressError| error.to_string())?;
    let is_plain = |one: &&dial::address::Address| matches!(one.target(), Target::Loopback(_));
    match read.all().iter().find(is_plain) {
        Some(plain) if tls => Err(format!("{plain}: tls goes with https")),
        _ => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(ipam: Value) -> Result<Option<IpamConfig>, IpamConfigError> {
        let conf = json!({"name": "n", "type": "bridge", "ipam": ipam});
        IpamConfig::of(conf.as_object().unwrap())
    }

    #[test]
    fn a_pool_is_enough() {
        let config = of(json!({"type": "meta-ipam", "pool": "blue"}))
            .unwrap()
            .unwrap();
        assert_eq!(config.pools, ["blue"]);
        assert_eq!(config.server.address, "unix:///run/meta-cni/ipam.sock");
        assert_eq!(config.timeout, Duration::from_secs(5));
    }

    #[test]
    fn several_servers_are_a_list_or_a_text_with_commas() {
        let both = "http://127.0.0.1:1,unix:///run/b.sock";
        for server in [
            json!(both),
            json!(["http://127.0.0.1:1", "unix:///run/b.sock"]),
        ] {
            let config = of(json!({"type": "meta-ipam", "pool": "blue", "server": server}));
            assert_eq!(config.unwrap().unwrap().server.address, both);
        }
    }

    #[test]
    fn the_object_is_found_in_any_case_as_the_main_plugin_finds_it() {
        let conf = json!({"Type": "bridge", "IPAM": {"Type": "meta-ipam", "pool": "blue"}});
        let config = IpamConfig::of(conf.as_object().unwrap()).unwrap();
        assert_eq!(config.unwrap().pools, ["blue"]);
    }

    #[test]
    fn another_plugins_object_is_left_alone() {
        assert_eq!(of(json!({"type": "host-local", "pool": 7})), Ok(None));
    }

    #[test]
    fn a_release_needs_no_pool() {
        let release = |ipam: Value| {
            let conf = json!({"name": "n", "type": "bridge", "ipam": ipam});
            IpamConfig::of_release(conf.as_object().unwrap())
        };
        for ipam in [
            json!({"type": "meta-ipam"}),
            json!({"type": "meta-ipam", "pool": 7, "families": "v4"}),
            json!({"type": "meta-ipam", "pool": "a", "pools": ["b"]}),
        ] {
            assert!(
                release(ipam.clone()).is_ok_and(|config| config.is_some()),
                "{ipam}"
            );
        }
        let elsewhere = json!({"type": "meta-ipam", "server": "10.0.0.1:1"});
        assert_eq!(release(elsewhere).unwrap_err().field, "server");
        assert_eq!(release(json!({"type": "host-local"})), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (ipam, field) in [
            (json!({"type": "meta-ipam"}), "pool"),
            (json!({"type": "meta-ipam", "pool": 7}), "pool"),
            (
                json!({"type": "meta-ipam", "pool": "a", "pools": ["b"]}),
                "pool",
            ),
            (
                json!({"type": "meta-ipam", "pool": "a", "server": "10.0.0.1:1"}),
                "server",
            ),
            (
                json!({"type": "meta-ipam", "pool": "a", "server": "http://10.0.0.1:1"}),
                "server",
            ),
            (
                json!({"type": "meta-ipam", "pool": "a", "server": "unix://x"}),
                "server",
            ),
            (
                json!({"type": "meta-ipam", "pool": "a", "server": []}),
                "server",
            ),
            (
                json!({"type": "meta-ipam", "pool": "a", "server": [7]}),
                "server",
            ),
            (
                json!({"type": "meta-ipam", "pool": "a", "server": ["https://a:1", "b:1"]}),
                "server",
            ),
            (
                json!({"type": "meta-ipam", "pool": "a", "timeoutSeconds": 0}),
                "timeoutSeconds",
            ),
            (
                json!({"type": "meta-ipam", "pool": "a", "families": "v4"}),
                "families",
            ),
            (
                json!({"type": "meta-ipam", "pool": "a", "network": 7}),
                "network",
            ),
            (
                json!({"type": "meta-ipam", "pool": "a", "tls": {"cert": 1}}),
                "tls.cert",
            ),
        ] {
            assert_eq!(of(ipam.clone()).unwrap_err().field, field, "{ipam}");
        }
    }
}
