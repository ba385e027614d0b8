//! Where a store is: `sled:FOLDER` or `etcd://…`; whether one is there, and the mark of a copy that is not finished.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ipam_core::log::{Store, StoreError};

use super::named;
use crate::store::etcd::{self, EtcdSettings, EtcdStore, Found};
use crate::store::sled::{COPY, SledStore};

/// What sled may keep in memory, in bytes.
const CACHE_BYTES: u64 = 64 << 20;

/// Where a store is.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// A folder.
    Sled(PathBuf),
    /// A prefix of an etcd cluster.
    Etcd(EtcdSettings),
}

/// A folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("reading or writing {place}")]
pub struct PlaceError {
    place: String,
    #[source]
    source: io::Error,
}

/// What is in a place.
pub(super) enum Target {
    Empty,
    /// A copy that is not finished, with its mark.
    Unfinished(Vec<u8>),
    Other,
}

/// A store that is open.
pub(super) enum Open {
    Sled(SledStore, PathBuf),
    Etcd(EtcdStore),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Sled(folder) => write!(f, "sled:{}", folder.display()),
            Place::Etcd(settings) => settings.address.fmt(f),
        }
    }
}

impl Place {
    /// Whether two places are one, as far as their names tell.
    pub(super) fn is_same(&self, other: &Place) -> bool {
        match (self, other) {
            (Place::Sled(one), Place::Sled(other)) => {
                let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.into());
                whole(one) == whole(other)
            }
            (Place::Etcd(one), Place::Etcd(other)) => {
                let (one, other) = (&one.address, &other.address);
                let shared = one
                    .members
                    .iter()
                    .any(|member| other.members.contains(member));
                shared && one.prefix == other.prefix
            }
            _ => false,
        }
    }

    /// Opens a store; none if there is none.
    pub(super) fn open_source(&self) -> Result<Option<Open>, StoreError> {
        Ok(match self {
            Place::Sled(folder) if !has_store(folder) => None,
            Place::Sled(folder) => {
                let store = SledStore::open(folder, CACHE_BYTES)?;
                Some(Open::Sled(store, folder.clone()))
            }
            Place::Etcd(settings) => {
                let store = EtcdStore::open(settings)?;
                let is_new = store.extent()?.position.0 == 0;
                (!is_new).then_some(Open::Etcd(store))
            }
        })
    }

    /// Opens a target; none if somebody else was first.
    pub(super) fn open_target(
        &self,
        target: &Target,
        mark: &[u8],
    ) -> Result<Option<Open>, super::CopyError> {
        if let (Place::Sled(folder), Target::Empty) = (self, target) {
            self.io(write_mark(folder, mark))?;
        }
        let opened = self.reopen()?;
        if let (Open::Etcd(store), Target::Empty) = (&opened, target)
            && !store.begin_copy(mark)?
        {
            return Ok(None);
        }
        Ok(Some(opened))
    }

    /// Opens a target once more.
    pub(super) fn reopen(&self) -> Result<Open, StoreError> {
        Ok(match self {
            Place::Sled(folder) => {
                let store = SledStore::open_unfinished(folder, CACHE_BYTES)?;
                Open::Sled(store, folder.clone())
            }
            Place::Etcd(settings) => Open::Etcd(EtcdStore::open_unfinished(settings)?),
        })
    }

    fn io<T>(&self, result: io::Result<T>) -> Result<T, PlaceError> {
        result.map_err(|source| PlaceError {
            place: self.to_string(),
            source,
        })
    }
}

impl Target {
    /// Says what is in a place, and changes nothing.
    pub(super) fn look(place: &Place) -> Result<Target, super::CopyError> {
        Ok(match place {
            Place::Sled(folder) => place.io(in_folder(folder))?,
            Place::Etcd(settings) => match etcd::look(settings)? {
                Found::Nothing => Target::Empty,
                Found::Unfinished(mark) => Target::Unfinished(mark),
                Found::Other => Target::Other,
            },
        })
    }
}

impl Open {
    pub(super) fn store(&self) -> &dyn Store {
        match self {
            Open::Sled(store, _) => store,
            Open::Etcd(store) => store,
        }
    }

    /// Removes the mark.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        match self {
            Open::Etcd(store) => store.finish_copy(),
            Open::Sled(store, folder) => {
                let removed = fs::remove_file(folder.join(COPY))
                    .and_then(|()| File::open(&folder)?.sync_all());
                drop(store);
                removed.map_err(|source| StoreError::Io {
                    store: named(&folder.display()),
                    source: source.into(),
                })
            }
        }
    }
}

/// Whether there is a store in a folder.
fn has_store(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    let mut names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    names.any(|name| crate::store::is_own_file(&name.to_string_lossy()))
}

fn in_folder(folder: &Path) -> io::Result<Target> {
    match fs::read(folder.join(COPY)) {
        Ok(mark) => return Ok(Target::Unfinished(mark)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Target::Empty),
        entries => entries?,
    };
    for entry in entries {
        // What mkfs leaves, and a mark that was not written to its end.
        let name = entry?.file_name();
        if name != "lost+found" && name != "ipam-server.copy.new" {
            return Ok(Target::Other);
        }
    }
    Ok(Target::Empty)
}

/// Makes a folder that only its owner enters, and the mark in it.
fn write_mark(folder: &Path, mark: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let temporary = folder.join(format!("{COPY}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(mark)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(COPY))?;
    File::open(folder)?.sync_all()
}
