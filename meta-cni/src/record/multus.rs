//! What Multus left behind: pods that it made before the switch are deleted from its files.
//!
//! `<cniDir>/<containerID>` is a JSON list of its delegates, each with its configuration in base64 in
//! `Bytes`; `<cniDir>/results/<network>-<containerID>-<ifname>` is libcni's cache, which has the
//! configuration, the arguments and the result whole and is therefore preferred.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cni::args::Args;
use cni::key;
use cni::netconf::{NetConfError, NetConfList, PluginConf};
use cni::result::CniResult;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Entry, Phase, Record};
use crate::attachment::Attachment;
use crate::cluster::PodRef;
use crate::device::info::DeviceInfoFiles;
use crate::diagnosis::Explain;
use crate::plan::inject_capabilities;

/// A file of Multus that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MultusError {
    /// It cannot be read.
    #[error("reading {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It cannot be removed.
    #[error("removing {}", .path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is not what Multus or libcni writes.
    #[error("{} is not what Multus writes: {problem}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A configuration in it cannot be used.
    #[error("a configuration in {}", .path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: NetConfError,
    },
}

impl Explain for MultusError {
    fn remedy(&self) -> Option<String> {
        match self {
            MultusError::Remove { .. } => Some("make cniDir writable".to_owned()),
            _ => None,
        }
    }
}

/// The files of Multus under its `cniDir`.
#[derive(Clone, Debug)]
pub struct MultusFiles {
    dir: PathBuf,
}

/// One delegate of a scratch file, as Multus names its fields.
#[derive(Deserialize)]
struct Delegate {
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "ifnameRequest", default)]
    interface: String,
    #[serde(rename = "deviceID", default)]
    device: String,
    #[serde(rename = "Bytes")]
    bytes: String,
    #[serde(rename = "CNINetworkConfigList", default)]
    whole: WholeList,
}

/// The list of a delegate whose configuration is a `.conflist` file: its [`Delegate::bytes`] lack every key that Multus does
/// not know, for example the ranges of an IPAM.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct WholeList {
    name: String,
    #[serde(rename = "CNIVersion")]
    cni_version: String,
    disable_check: bool,
    #[serde(rename = "DisableGC")]
    disable_gc: bool,
    plugins: Option<Vec<WholePlugin>>,
}

#[derive(Deserialize)]
struct WholePlugin {
    #[serde(rename = "Bytes")]
    bytes: String,
}

/// An entry of libcni's cache.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cached {
    config: String,
    #[serde(default)]
    cni_args: Option<Vec<(String, String)>>,
    #[serde(default)]
    capability_args: Option<Map<String, Value>>,
    #[serde(default)]
    result: Option<Value>,
}

impl MultusFiles {
    /// The files under `cni_dir`.
    pub fn new(cni_dir: &Path) -> MultusFiles {
        MultusFiles {
            dir: cni_dir.to_owned(),
        }
    }

    /// The containers that have a scratch file.
    pub fn container_ids(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        let files = entries.flatten().filter(|entry| entry.path().is_file());
        let mut ids: Vec<_> = files
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| cni::name::is_identifier(name))
            .collect();
        ids.sort();
        ids
    }

    /// What Multus made for a sandbox, as a record of ours; nothing if it has no scratch file. An empty
    /// `netns` is filled in from the cached results.
    ///
    /// # Errors
    /// [`MultusError`] if its files are there but cannot be used.
    pub fn record(
        &self,
        container_id: &str,
        netns: &str,
        ifname: &str,
        args: &Args,
        pod: Option<PodRef>,
    ) -> Result<Option<Record>, MultusError> {
        let scratch = self.dir.join(container_id);
        let Some(bytes) = read_if_there(&scratch)? else {
            return Ok(None);
        };
        let delegates: Vec<Delegate> =
            serde_json::from_slice(&bytes).map_err(|error| MultusError::Invalid {
                path: scratch.clone(),
                problem: error.to_string(),
            })?;
        let mut attachments = Vec::with_capacity(delegates.len());
        for (index, delegate) in delegates.iter().enumerate() {
            let ifname = match delegate.interface.as_str() {
                _ if index == 0 => ifname.to_owned(),
                "" => format!("net{index}"),
                name => name.to_owned(),
            };
            let text = match &delegate.whole.plugins {
                Some(plugins) if !plugins.is_empty() => whole(&scratch, &delegate.whole, plugins)?,
                _ => decoded(&scratch, &delegate.bytes)?,
            };
            let list = parsed(&scratch, &text, &delegate.name)?;
            attachments.push(self.entry(container_id, ifname, list, args, delegate)?);
        }
        let netns = if netns.is_empty() {
            namespace_of(&attachments)
        } else {
            netns
        };
        let mut record = Record::planned(container_id, netns, pod, Vec::new());
        record.attachments = attachments;
        Ok(Some(record))
    }

    /// Removes what Multus kept for a sandbox that is deleted.
    ///
    /// # Errors
    /// [`MultusError::Remove`].
    pub fn forget(&self, record: &Record) -> Result<(), MultusError> {
        self.forget_results(&record.container_id, record.attachments())?;
        remove(self.dir.join(&record.container_id))
    }

    /// Removes libcni's cache of attachments that are deleted, while others of the sandbox remain.
    ///
    /// # Errors
    /// [`MultusError::Remove`].
    pub fn forget_results<'a>(
        &self,
        container_id: &str,
        attachments: impl IntoIterator<Item = &'a Attachment>,
    ) -> Result<(), MultusError> {
        attachments.into_iter().try_for_each(|attachment| {
            remove(self.cache_file(&attachment.list.name, container_id, &attachment.ifname))
        })
    }

    fn entry(
        &self,
        container_id: &str,
        ifname: String,
        list: NetConfList,
        args: &Args,
        delegate: &Delegate,
    ) -> Result<Entry, MultusError> {
        let path = self.cache_file(&list.name, container_id, &ifname);
        let network = if delegate.name.is_empty() {
            list.name.clone()
        } else {
            delegate.name.clone()
        };
        let device_info_file = device_info_file(delegate, container_id, &ifname);
        let invalid = |problem: String| MultusError::Invalid {
            path: path.clone(),
            problem,
        };
        let attachment = |list, args: String| Attachment {
            network,
            ifname,
            args,
            list,
            check_by_plugins: false,
            default_route: None,
            device: None,
            device_info_file,
        };
        let Some(bytes) = read_if_there(&path)? else {
            let list = prepare(list, &Map::new()).map_err(invalid)?;
            return Ok(Entry::planned(attachment(list, args.to_string())));
        };
        let cached: Cached =
            serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        let cached_list = parsed(&path, &decoded(&path, &cached.config)?, &list.name)?;
        let mut cached_args = Args::default();
        for (key, value) in cached.cni_args.iter().flatten() {
            cached_args.set(key, value);
        }
        let result = cached
            .result
            .map(|result| CniResult::from_value(&result, cached_list.version))
            .transpose()
            .map_err(|error| invalid(error.to_string()))?;
        let capabilities = cached.capability_args.unwrap_or_default();
        let list = prepare(cached_list, &capabilities).map_err(invalid)?;
        Ok(Entry {
            phase: Phase::Added,
            result,
            ..Entry::planned(attachment(list, cached_args.to_string()))
        })
    }

    fn cache_file(&self, network: &str, container_id: &str, ifname: &str) -> PathBuf {
        self.dir
            .join("results")
            .join(format!("{network}-{container_id}-{ifname}"))
    }
}

/// The text behind what Go writes of bytes.
fn decoded(path: &Path, base64: &str) -> Result<String, MultusError> {
    let invalid = |problem: String| MultusError::Invalid {
        path: path.to_owned(),
        problem,
    };
    let bytes = STANDARD
        .decode(base64)
        .map_err(|error| invalid(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| invalid(error.to_string()))
}

/// The configuration list of a file, put together again from what Multus keeps of each plugin.
fn whole(path: &Path, list: &WholeList, plugins: &[WholePlugin]) -> Result<String, MultusError> {
    let texts = plugins.iter().map(|plugin| decoded(path, &plugin.bytes));
    let plugins = texts
        .map(|text| {
            serde_json::from_str(&text?).map_err(|error| MultusError::Invalid {
                path: path.to_owned(),
                problem: error.to_string(),
            })
        })
        .collect::<Result<Vec<Value>, _>>()?;
    let list = json!({
        "cniVersion": list.cni_version,
        "name": list.name,
        "disableCheck": list.disable_check,
        "disableGC": list.disable_gc,
        "plugins": plugins,
    });
    Ok(list.to_string())
}

/// A configuration, which gets the network's name if it has none.
fn parsed(path: &Path, text: &str, name: &str) -> Result<NetConfList, MultusError> {
    let list = as_multus_ran(text);
    let mut list = list.map_err(|source| MultusError::Configuration {
        path: path.to_owned(),
        source,
    })?;
    if list.name.is_empty() {
        list.name = name.rsplit('/').next().unwrap_or_default().to_owned();
    }
    Ok(list)
}

/// Reads what Multus ran from its JSON text. Multus takes a configuration with a `type` for that one plugin, which is given
/// `plugins` too if they stand beside it (multus-cni, `LoadDelegateNetConf`).
fn as_multus_ran(text: &str) -> Result<NetConfList, NetConfError> {
    let Ok(Value::Object(mut conf)) = serde_json::from_str(text) else {
        return NetConfList::parse(text);
    };
    let is_one = key::value_of(&conf, "type").is_some_and(|kind| kind != "" && !kind.is_null());
    let beside = is_one.then(|| conf.remove_entry("plugins")).flatten();
    let mut list = NetConfList::from_value(Value::Object(conf))?;
    if let (Some((key, plugins)), Some(plugin)) = (beside, list.plugins.first_mut()) {
        let mut conf = plugin.as_map().clone();
        conf.insert(key, plugins);
        *plugin = PluginConf::new(Value::Object(conf), "")?;
    }
    Ok(list)
}

fn prepare(
    mut list: NetConfList,
    capabilities: &Map<String, Value>,
) -> Result<NetConfList, String> {
    inject_capabilities(&mut list, capabilities)?;
    Ok(list)
}

/// The copy of the device's information that Multus made for the plugin, where Multus always keeps it.
fn device_info_file(delegate: &Delegate, container_id: &str, ifname: &str) -> Option<PathBuf> {
    if delegate.device.is_empty() {
        return None;
    }
    let files = DeviceInfoFiles::default();
    files.cni_path(&delegate.name, container_id, ifname).ok()
}

/// The network namespace that the results name; empty if none does.
fn namespace_of(attachments: &[Entry]) -> &str {
    attachments
        .iter()
        .filter_map(|entry| entry.result.as_ref())
        .flat_map(|result| &result.interfaces)
        .find_map(|interface| interface.sandbox.as_deref())
        .unwrap_or_default()
}

/// Removes a file; none there is success.
fn remove(path: PathBuf) -> Result<(), MultusError> {
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| MultusError::Remove { path, source }),
    }
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, MultusError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) => Err(MultusError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
