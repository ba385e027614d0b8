//! The primary network: the configuration that the runtime would use without us, and that we delegate to. It stays where
//! its own installer writes it, so that we follow each change at once. Only a file whose name comes before ours is moved,
//! because the runtime would use it in our place.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use cni::error::with_causes;
use cni::netconf::{NetConfList, configuration_files, load_file};
use cni::version::Version;
use serde_json::{Map, Value};

use super::InstallError;
use super::changes::Changes;
use super::place::{CONF, Places};
use super::receipt::Receipt;

/// Plugins like ours, which have a primary network themselves.
const META_PLUGINS: [&str; 3] = ["meta-cni", "multus", "multus-shim"];

/// A primary network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Primary {
    /// Its file, as a path of the node.
    pub(super) path: PathBuf,
    /// The name of the network.
    pub(super) name: String,
    /// The version in which its installer expects to be called.
    pub(super) version: Version,
    /// The capabilities of all its plugins.
    pub(super) capabilities: Map<String, Value>,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) primary: Option<Primary>,
    /// Files that cannot be the primary network's, each with why.
    pub(super) skipped: Vec<String>,
}

/// A file that may be the primary network's.
struct Candidate {
    /// Where this process reads it.
    here: PathBuf,
    /// Where it is on the node once everything is installed.
    path: PathBuf,
}

/// The first configuration, in the order of the runtime, that is none of a plugin like ours; or the file that is named.
pub(super) fn find(places: &Places, named: Option<&Path>) -> Result<Found, InstallError> {
    let files = match named {
        Some(path) => vec![at(places, &places.primary_dir.join(path))],
        None => candidates(places)?,
    };
    let mut skipped = Vec::new();
    for Candidate { here, path } in files {
        match load(&here) {
            Ok(list) => {
                let primary = Some(of_list(path, &list));
                return Ok(Found { primary, skipped });
            }
            Err(why) => skipped.extend(why),
        }
    }
    Ok(Found {
        primary: None,
        skipped,
    })
}

/// A file of the node, which may have been moved aside, or will be.
fn at(places: &Places, path: &Path) -> Candidate {
    let is_before_ours = path.parent() == Some(&places.conf_dir)
        && path.file_name().is_some_and(|name| name < OsStr::new(CONF));
    let aside = path.file_name().map(|name| places.aside().join(name));
    let (here, aside) = match aside.filter(|_| is_before_ours) {
        None => (places.here(path), path.to_owned()),
        Some(aside) if places.here(path).exists() => (places.here(path), aside),
        Some(aside) => (places.here(&aside), aside),
    };
    Candidate { here, path: aside }
}

/// The files of the primary network's folder and those that were moved aside, in the order of their names.
fn candidates(places: &Places) -> Result<Vec<Candidate>, InstallError> {
    let mut names = BTreeSet::new();
    let is_beside_ours = places.primary_dir == places.conf_dir;
    let aside = places.aside();
    for folder in [Some(&places.primary_dir), is_beside_ours.then_some(&aside)] {
        let Some(folder) = folder.map(|folder| places.here(folder)) else {
            continue;
        };
        if folder.is_dir() {
            let found = configuration_files(&folder);
            let found = found.map_err(|source| InstallError::Folder { source })?;
            names.extend(
                found
                    .iter()
                    .filter_map(|path| path.file_name().map(OsStr::to_owned)),
            );
        }
    }
    names.remove(OsStr::new(CONF));
    let file = |name| at(places, &places.primary_dir.join(name));
    Ok(names.into_iter().map(file).collect())
}

/// Reads a file as the runtime and meta-cni do; else why it is skipped, if that is worth a word.
fn load(path: &Path) -> Result<NetConfList, Option<String>> {
    let list = load_file(path).map_err(|error| Some(with_causes(&error)))?;
    let is = |kinds: &[&str]| {
        let mut plugins = list.plugins.iter();
        plugins.any(|plugin| kinds.contains(&plugin.plugin_type()))
    };
    let path = path.display();
    if is(&META_PLUGINS) {
        let kind = list.plugins[0].plugin_type();
        return Err(Some(format!("{path} is of {kind}, not of a network")));
    }
    // Beside a configuration, distributions of CRI-O have one of the loopback interface.
    if list
        .plugins
        .iter()
        .all(|plugin| plugin.plugin_type() == "loopback")
    {
        return Err(None);
    }
    if list.name.is_empty() {
        return Err(Some(format!("{path} has no name")));
    }
    Ok(list)
}

fn of_list(path: PathBuf, list: &NetConfList) -> Primary {
    let declared = list.plugins.iter().filter_map(|plugin| {
        let capabilities = plugin.get("capabilities")?.as_object()?;
        Some(capabilities.clone())
    });
    let mut capabilities = Map::new();
    for (name, value) in declared.flatten() {
        if value == Value::Bool(true) {
            capabilities.insert(name, value);
        }
    }
    Primary {
        path,
        name: list.name.clone(),
        version: list.version,
        capabilities,
    }
}

/// Moves configurations that come before ours into our own folder; from there, they are followed like others.
pub(super) fn move_aside(
    places: &Places,
    receipt: &mut Receipt,
    changes: &mut Changes<'_>,
) -> Result<(), InstallError> {
    let files = configuration_files(&places.here(&places.conf_dir));
    let files = files.map_err(|source| InstallError::Folder { source })?;
    for path in files {
        let Some(name) = path.file_name().filter(|name| *name < OsStr::new(CONF)) else {
            continue;
        };
        let to = places.aside().join(name);
        changes.private_folder(&places.here(&places.aside()))?;
        receipt.note_move(places, changes, &places.on_node(&path), &to)?;
        let why = "its name comes before ours, so the runtime would use it in our place";
        changes.rename(&path, &places.here(&to), why)?;
    }
    Ok(())
}
