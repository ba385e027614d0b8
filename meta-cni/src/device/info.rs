//! Device info files (the device information specification of the Network Plumbing Working Group, as the
//! NetworkAttachmentDefinition client v1.7 has it): a device plugin describes a device under `dp/`; a CNI
//! plugin gets a copy under `cni/` as `CNIDeviceInfoFile`, may change it, and what it then says goes to
//! network-status.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde_json::Value;

use cni::netconf::{NetConfList, PluginConf};

use super::DeviceError;

/// Where device plugins write and CNI plugins read (`baseDevInfoPath` of the client).
const BASE: &str = "/var/run/k8s.cni.cncf.io/devinfo";
/// NAME_MAX, linux/limits.h.
const NAME_BYTES: usize = 255;
/// More than any real file by far.
const FILE_BYTES: u64 = 1024 * 1024;

/// The device info files of a node.
#[derive(Clone, Debug)]
pub struct DeviceInfoFiles {
    /// The folder that holds `dp` and `cni`, `/var/run/k8s.cni.cncf.io/devinfo` by default.
    pub base: PathBuf,
}

impl Default for DeviceInfoFiles {
    fn default() -> Self {
        DeviceInfoFiles { base: BASE.into() }
    }
}

impl DeviceInfoFiles {
    /// The file of an attachment that a plugin gets as `CNIDeviceInfoFile`, there or not:
    /// `cni/<network>-<container ID>_<interface>`, as Multus names it.
    ///
    /// # Errors
    /// [`DeviceError::Name`] if a part is empty or holds a NUL, or all are too long for a file name.
    /// Slashes become dashes, so that no name leads elsewhere.
    pub fn cni_path(
        &self,
        network: &str,
        container_id: &str,
        ifname: &str,
    ) -> Result<PathBuf, DeviceError> {
        let network = part("network", network)?;
        let container_id = part("container ID", container_id)?;
        let ifname = part("interface", ifname)?;
        let name = file_name("network", format!("{network}-{container_id}_{ifname}"))?;
        Ok(self.cni_folder().join(name))
    }

    /// Copies what the device plugin says of a device to `to`, the file of an attachment, in the place
    /// of one that a try before left there. Gives whether the device plugin says anything.
    ///
    /// # Errors
    /// [`DeviceError::Name`] as [`DeviceInfoFiles::cni_path`]; [`DeviceError::OutsideFolder`] as
    /// [`DeviceInfoFiles::read`]; [`DeviceError::Malformed`] if it is no JSON object;
    /// [`DeviceError::File`] if it cannot be read or written.
    pub fn copy_for_cni(
        &self,
        resource: &str,
        device: &str,
        to: &Path,
    ) -> Result<bool, DeviceError> {
        self.check(to)?;
        let resource = part("resource", resource)?;
        let device = part("device ID", device)?;
        let name = file_name("device ID", format!("{resource}-{device}-device.json"))?;
        let Some((text, _)) = load(&self.base.join("dp").join(name))? else {
            return Ok(false);
        };
        save(to, &text).map_err(|source| file_error("write", to, source))?;
        Ok(true)
    }

    /// What the file of an attachment says by now; none if there is none.
    ///
    /// # Errors
    /// [`DeviceError::OutsideFolder`] if `path` is not directly in the folder of such files;
    /// [`DeviceError::Malformed`] and [`DeviceError::File`] as in [`DeviceInfoFiles::copy_for_cni`].
    pub fn read(&self, path: &Path) -> Result<Option<Value>, DeviceError> {
        self.check(path)?;
        Ok(load(path)?.map(|(_, value)| value))
    }

    /// Removes the file of an attachment. One that is gone already is no error.
    ///
    /// # Errors
    /// [`DeviceError::OutsideFolder`] as in [`DeviceInfoFiles::read`]; [`DeviceError::File`].
    pub fn remove(&self, path: &Path) -> Result<(), DeviceError> {
        self.check(path)?;
        match fs::remove_file(path) {
            Err(source) if !absent(&source) => Err(file_error("remove", path, source)),
            _ => Ok(()),
        }
    }

    fn cni_folder(&self) -> PathBuf {
        self.base.join("cni")
    }

    fn check(&self, path: &Path) -> Result<(), DeviceError> {
        let folder = self.cni_folder();
        // `file_name` is none for `..`; comparing the parent's text accepts no detour.
        let inside = path.file_name().is_some()
            && path
                .parent()
                .is_some_and(|parent| parent.as_os_str() == folder.as_os_str());
        match inside {
            true => Ok(()),
            false => Err(DeviceError::OutsideFolder {
                path: path.to_owned(),
                folder,
            }),
        }
    }
}

/// A part of a file name: slashes become dashes, as the client has it.
fn part(part: &'static str, text: &str) -> Result<String, DeviceError> {
    if text.is_empty() || text.contains('\0') {
        return Err(name_error(part, text));
    }
    Ok(text.replace('/', "-"))
}

fn file_name(part: &'static str, name: String) -> Result<String, DeviceError> {
    match name.len() <= NAME_BYTES {
        true => Ok(name),
        false => Err(name_error(part, &name)),
    }
}

fn name_error(part: &'static str, text: &str) -> DeviceError {
    DeviceError::Name {
        part,
        text: text.chars().take(64).collect(),
    }
}

fn file_error(action: &'static str, path: &Path, source: io::Error) -> DeviceError {
    DeviceError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

fn absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// A JSON object, as text and as value. No symbolic link is followed, and no FIFO waited for.
fn load(path: &Path) -> Result<Option<(Vec<u8>, Value)>, DeviceError> {
    let mut text = Vec::new();
    let read = File::options()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path)
        .and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if absent(&error) => return Ok(None),
        Err(source) => return Err(file_error("read", path, source)),
    }
    let malformed = |why: String| DeviceError::Malformed {
        path: path.to_owned(),
        why,
    };
    if text.len() as u64 > FILE_BYTES {
        return Err(malformed("it is larger".to_owned()));
    }
    match serde_json::from_slice(&text) {
        Ok(value @ Value::Object(_)) => Ok(Some((text, value))),
        Ok(_) => Err(malformed("it is no object".to_owned())),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// Writes the file whole or not at all. It is on a tmpfs and of no use after a reboot, so nothing is
/// synced.
fn save(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)?;
    // A dot keeps it apart from finished files; attachments of one pod are made side by side.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let hidden = format!(
        ".{}-{}.tmp",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let temporary = folder.join(hidden);
    let written = write_new(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !absent(&error) => return Err(error),
        _ => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(text)?;
    // Device plugins and CNI plugins of any user read it (0444 in the client).
    file.set_permissions(Permissions::from_mode(0o444))
}

/// Whether a plugin of the list reads the device info file (`CNIDeviceInfoFile`).
pub fn is_declared(list: &NetConfList) -> bool {
    let declares = |plugin: &PluginConf| plugin.has_capability("CNIDeviceInfoFile");
    list.plugins.iter().any(declares)
}

#[cfg(test)]
mod tests;
