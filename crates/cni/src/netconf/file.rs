//! Configurations in files: found by network name, or the first of a folder, as libcni finds them.

use std::path::{Path, PathBuf};

use super::{NetConfError, NetConfList, PluginConf};

/// The most that is read of one file.
const FILE_BYTES: u64 = 4 << 20;

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file or folder cannot be read.
    #[error("reading {}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than 4 MiB.
    #[error("{} is larger than 4 MiB", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file does not hold a configuration.
    #[error("{}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: NetConfError,
    },
    /// No file of the folder has the network.
    #[error("no file in {} has a network called {name:?}{}", .dir.display(), unreadable_hint(.unreadable))]
    NoSuchNetwork {
        /// The folder.
        dir: PathBuf,
        /// The network's name.
        name: String,
        /// Files that might have had it but could not be read, each with why.
        unreadable: Vec<String>,
    },
    /// The folder has no configuration file at all.
    #[error("{} has no file that ends in .conflist, .conf or .json", .dir.display())]
    EmptyFolder {
        /// The folder.
        dir: PathBuf,
    },
}

fn unreadable_hint(unreadable: &[String]) -> String {
    match unreadable {
        [] => String::new(),
        some => format!("; not readable: {}", some.join("; ")),
    }
}

/// Reads one configuration file, with the plugins that stand in the folder named after the network
/// beside it, unless the list says `loadOnlyInlinedPlugins`.
///
/// # Errors
/// [`FileError`] if it cannot be read or does not hold a configuration.
pub fn load_file(path: &Path) -> Result<NetConfList, FileError> {
    let value = read_json(path)?;
    let beside = |name: &str| match path.parent() {
        Some(dir) if !name.is_empty() => plugins_of_folder(&dir.join(name)),
        _ => Ok(Vec::new()),
    };
    let invalid = |source| FileError::Invalid {
        path: path.to_owned(),
        source,
    };
    let list = NetConfList::from_value_with_more_plugins(value, beside).map_err(invalid)?;
    if list.plugins.is_empty() {
        return Err(invalid(NetConfError::field(
            "plugins",
            "a configuration needs a type, or a list of plugins",
        )));
    }
    Ok(list)
}

/// The configuration in `dir` whose network is called `name`.
///
/// # Errors
/// [`FileError::NoSuchNetwork`] if there is none; [`FileError::Read`] if the folder cannot be read.
pub fn find_by_name(dir: &Path, name: &str) -> Result<NetConfList, FileError> {
    let mut unreadable = Vec::new();
    for path in configuration_files(dir)? {
        match load_file(&path) {
            Ok(list) if list.name == name => return Ok(list),
            Ok(_) => {}
            Err(error) => unreadable.push(crate::error::with_causes(&error)),
        }
    }
    Err(FileError::NoSuchNetwork {
        dir: dir.to_owned(),
        name: name.to_owned(),
        unreadable,
    })
}

/// The first configuration of `dir`, in the order of file names.
///
/// # Errors
/// [`FileError::EmptyFolder`] if there is none; others if the first cannot be used.
pub fn load_first(dir: &Path) -> Result<NetConfList, FileError> {
    match configuration_files(dir)?.first() {
        Some(path) => load_file(path),
        None => Err(FileError::EmptyFolder {
            dir: dir.to_owned(),
        }),
    }
}

/// The files that libcni reads in `dir`, in its order: that of their names.
///
/// # Errors
/// [`FileError::Read`].
pub fn configuration_files(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let read = |source| FileError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("conflist" | "conf" | "json")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The plugins that stand alone as `*.conf` in a folder; none if there is no such folder.
fn plugins_of_folder(dir: &Path) -> Result<Vec<PluginConf>, NetConfError> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let broken = |error: FileError| {
        NetConfError::field("plugins beside the list", crate::error::with_causes(&error))
    };
    let files = configuration_files(dir).map_err(broken)?;
    files
        .iter()
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "conf")
        })
        .map(|path| {
            PluginConf::new(
                read_json(path).map_err(broken)?,
                &path.display().to_string(),
            )
        })
        .collect()
}

fn read_json(path: &Path) -> Result<serde_json::Value, FileError> {
    let read = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(read)?.len() > FILE_BYTES {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
        });
    }
    let bytes = std::fs::read(path).map_err(read)?;
    serde_json::from_slice(&bytes).map_err(|error| FileError::Invalid {
        path: path.to_owned(),
        source: NetConfError::NotJson {
            problem: error.to_string(),
        },
    })
}
