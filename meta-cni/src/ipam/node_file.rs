//! The node's own settings of meta-ipam: its servers with their certificates, where releases wait, the node's name and the
//! time of a call. They stand in a file of root; the definition of a network names at most one of the servers by its name.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use dial::regular;
use nix::unistd::geteuid;
use process::yaml;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::config::{
    IpamConfigError, OneOrSeveral, SOCKET, Tls, check_address, check_seconds, check_tls,
};
use crate::author::Author;
use crate::diagnosis::{Diagnosis, Explain};

/// The file below a folder of configurations.
pub const BELOW: &str = "meta-cni.d/ipam.yaml";
/// The usual file.
pub const USUAL: &str = "/etc/cni/net.d/meta-cni.d/ipam.yaml";

/// How an error of the file begins.
const SUBJECT: &str = "the node's ipam.yaml";

/// The keys of `ipam` that only the node may set.
pub(crate) const KEYS: [&str; 5] = ["server", "tls", "stateDir", "node", "timeoutSeconds"];
/// The key of `ipam` that names a server of the file.
const SERVER_NAME: &str = "serverName";

/// The settings of a node; without a file, the default of each.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeFile {
    /// Servers by their names.
    servers: BTreeMap<String, Named>,
    /// The server of networks that name none; not needed if there is one server.
    default: Option<String>,
    /// The node's name in leases; the host's name by default.
    node: Option<String>,
    /// Where releases wait; that of meta-cni by default.
    state_dir: Option<PathBuf>,
    /// The time of a call, in seconds.
    timeout_seconds: Option<u64>,
}

/// A server, or several of one store.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Named {
    /// `unix:///path`, `https://host:port`, or `http://` on loopback; several as a list, or with commas.
    address: OneOrSeveral,
    /// Certificates of an `https` server.
    #[serde(default)]
    tls: Option<Tls>,
    /// Whether a NetworkAttachmentDefinition may name the server.
    #[serde(default)]
    tenants_may_name: bool,
}

/// The node's file cannot be used. The text holds nothing of its content, and no path: a tenant reads it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{SUBJECT} {problem}")]
pub struct NodeFileError {
    problem: String,
    /// The same with path and content, for the node's administrator.
    pub detail: String,
}

impl Explain for NodeFileError {
    fn remedy(&self) -> Option<String> {
        Some("the node's administrator has to correct it".to_owned())
    }
}

impl NodeFile {
    /// Reads a file; nothing if there is none.
    ///
    /// # Errors
    /// [`NodeFileError`] if it cannot be read, if others than root can change it, or if it makes no sense.
    pub fn load(path: &Path) -> Result<Option<NodeFile>, NodeFileError> {
        let wrong = |problem: String, detail: &dyn std::fmt::Display| NodeFileError {
            problem,
            detail: format!("{}: {detail}", path.display()),
        };
        let unread = |error: io::Error| wrong("cannot be read".to_owned(), &error);
        let file = match regular::open(path) {
            Err(error) if is_absent(&error) => return Ok(None),
            file => file.map_err(unread)?,
        };
        check_owner(&file.metadata().map_err(unread)?)
            .and_then(|()| match path.parent() {
                Some(folder) => check_owner(&fs::metadata(folder).map_err(|_| "its folder")?),
                None => Ok(()),
            })
            .map_err(|what| {
                let problem = "can be changed by others than root";
                let remedy =
                    format!("{what} must be root's, and nobody else may write it (chmod go-w)");
                wrong(problem.to_owned(), &remedy)
            })?;
        let bytes = regular::read_open(&file).map_err(unread)?;
        let text = String::from_utf8(bytes)
            .map_err(|error| wrong("is not UTF-8".to_owned(), &error.utf8_error()))?;
        let file: NodeFile = yaml::read(&text).map_err(|error| {
            let place = error.position.map(|position| format!(" at {position}"));
            let place = place.unwrap_or_default();
            wrong(format!("cannot be understood{place}"), &error)
        })?;
        match file.check() {
            Ok(()) => Ok(Some(file)),
            Err(error) => Err(wrong(
                "has a value that cannot be used".to_owned(),
                &error.diagnosis(),
            )),
        }
    }

    fn check(&self) -> Result<(), IpamConfigError> {
        let wrong = |field: &str, problem: Diagnosis| IpamConfigError {
            field: field.to_owned(),
            problem,
        };
        for (name, server) in &self.servers {
            let below = |error: IpamConfigError| IpamConfigError {
                field: format!("servers.{name}.{}", error.field),
                ..error
            };
            let address = check_address(&server.address.to_text(), server.tls.is_some())
                .map_err(|problem| below(wrong("address", problem.into())))?;
            check_tls(&address, server.tls.as_ref()).map_err(below)?;
        }
        match &self.default {
            Some(name) if !self.servers.contains_key(name) => {
                let problem = format!("{name:?} is none of the servers");
                return Err(wrong("default", problem.into()));
            }
            None if self.servers.len() > 1 => {
                let remedy = "name the one of networks that name none";
                let problem = Diagnosis::new("there are several servers", remedy);
                return Err(wrong("default", problem));
            }
            _ => {}
        }
        if self.node.as_deref() == Some("") {
            return Err(wrong(
                "node",
                Diagnosis::new("is empty", "leave it out for the host's name"),
            ));
        }
        if self
            .state_dir
            .as_ref()
            .is_some_and(|dir| !dir.is_absolute())
        {
            return Err(wrong("stateDir", "must be an absolute path".into()));
        }
        self.timeout_seconds.map_or(Ok(()), check_seconds)
    }

    /// Writes the node's settings into the `ipam` object of a network that leases by meta-ipam. One that has a `server`
    /// of its own takes nothing from the file but `stateDir`, which is `state_dir` if the file has none.
    ///
    /// # Errors
    /// [`IpamConfigError`] if the network names a server that it may not name.
    pub fn complete(
        &self,
        ipam: &mut Map<String, Value>,
        author: Author,
        state_dir: Option<&Path>,
    ) -> Result<(), IpamConfigError> {
        let named = ipam.remove(SERVER_NAME);
        let wrong = |problem: Diagnosis| IpamConfigError {
            field: SERVER_NAME.to_owned(),
            problem,
        };
        let state_dir = self.state_dir.as_deref().or(state_dir);
        let mut set = |key: &str, value: Value| {
            ipam.entry(key).or_insert(value);
        };
        if let Some(dir) = state_dir {
            set("stateDir", json!(dir));
        }
        if ipam.contains_key("server") {
            return match named {
                Some(_) => Err(wrong(Diagnosis::new(
                    "stands beside server",
                    "leave one of both out",
                ))),
                None => Ok(()),
            };
        }
        let server = match &named {
            Some(Value::String(name)) => {
                let server = self.servers.get(name);
                let may = |server: &&Named| author == Author::Node || server.tenants_may_name;
                Some(server.filter(may).ok_or_else(|| {
                    wrong(Diagnosis::new(
                        "no server of this name is open to this network",
                        "name another, or let the node's ipam.yaml say tenantsMayName",
                    ))
                })?)
            }
            Some(_) => return Err(wrong("must be a string".into())),
            None => self.default_server(),
        };
        let address = server.map(|server| server.address.to_text());
        let address = address.unwrap_or_else(|| format!("unix://{SOCKET}"));
        ipam.insert("server".to_owned(), Value::from(address));
        ipam.remove("tls");
        if let Some(tls) = server.and_then(|server| server.tls.as_ref()) {
            ipam.insert("tls".to_owned(), json!(tls));
        }
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                ipam.entry(key).or_insert(value);
            }
        };
        set("node", self.node.as_deref().map(Value::from));
        set("timeoutSeconds", self.timeout_seconds.map(Value::from));
        Ok(())
    }

    fn default_server(&self) -> Option<&Named> {
        match &self.default {
            Some(name) => self.servers.get(name),
            None => self.servers.values().next(),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Who can write the file can name servers and files to a process of root.
fn check_owner(found: &fs::Metadata) -> Result<(), &'static str> {
    let what = match found.is_dir() {
        true => "its folder",
        false => "the file",
    };
    let is_own = found.uid() == 0 || found.uid() == geteuid().as_raw();
    let is_writable = found.mode() & 0o022 != 0;
    match is_own && !is_writable {
        true => Ok(()),
        false => Err(what),
    }
}

#[cfg(test)]
mod tests;
