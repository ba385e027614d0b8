//! Kernel settings below /proc/sys, of the namespace that the calling thread is in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use netlink::Link;

use crate::failure::Failure;

/// The file of a setting, named by its parts: the name of an interface may have dots.
pub(crate) fn path(parts: &[&str]) -> PathBuf {
    let mut path = PathBuf::from("/proc/sys");
    path.extend(parts);
    path
}

/// The file of a setting of IPv6 on an interface.
pub(crate) fn ipv6(ifname: &str, setting: &str) -> PathBuf {
    path(&["net", "ipv6", "conf", ifname, setting])
}

/// Makes the kernel take no router advertisement on a link of the host, whose routes are ours alone.
pub(crate) fn refuse_advertisements(link: &Link) {
    if link.ipv6.is_none_or(|ipv6| ipv6.accept_ra != 0) {
        write_if_possible(&ipv6(&link.name, "accept_ra"), "0");
    }
}

/// The value of a setting without the line's end.
///
/// # Errors
/// As of reading a file.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim_end().to_owned())
}

/// Writes a setting.
///
/// # Errors
/// [`Failure::Sysctl`].
pub(crate) fn write(path: &Path, value: &str) -> Result<(), Failure> {
    fs::write(path, value).map_err(|source| Failure::Sysctl {
        path: path.to_owned(),
        source,
    })
}

/// Writes a setting that a kernel without the feature, or without IPv6, does not have, and that nothing depends on.
pub(crate) fn write_if_possible(path: &Path, value: &str) {
    if let Err(error) = fs::write(path, value) {
        tracing::debug!(path = %path.display(), %error, "a kernel setting stays as it is");
    }
}

/// Writes a setting of this host unless it has the value already.
///
/// # Errors
/// [`Failure::Sysctl`].
pub(crate) fn ensure(path: &Path, value: &str) -> Result<(), Failure> {
    match read(path) {
        Ok(found) if found == value => Ok(()),
        _ => write(path, value),
    }
}
