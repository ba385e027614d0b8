//! What an interface was like before an ADD: a file of the reference plugin's form, with which DEL of either sets it back.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use netlink::Link;
use serde::{Deserialize, Serialize};
use serde_json::ser::PrettyFormatter;

use super::conf::Conf;
use crate::failure::Failure;

/// The former values of what an ADD sets.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Backup {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) mac: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) promisc: Option<bool>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) mtu: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) allmulti: Option<bool>,
    #[serde(default, rename = "txQLen", skip_serializing_if = "Option::is_none")]
    pub(super) tx_queue: Option<u32>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Backup {
    /// Of what `conf` sets.
    pub(super) fn of(link: &Link, conf: &Conf) -> Backup {
        let mac = conf.mac.as_ref().map(|_| link.mac.clone());
        Backup {
            mac: mac.unwrap_or_default(),
            promisc: conf.promisc.then_some(link.promiscuity > 0),
            mtu: conf.mtu.map_or(0, |_| link.mtu),
            allmulti: conf.all_multicast.map(|_| link.is_all_multicast),
            tx_queue: conf.tx_queue.map(|_| link.tx_queue),
        }
    }

    fn text(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = Vec::new();
        let indented = PrettyFormatter::with_indent(b" ");
        let mut writer = serde_json::Serializer::with_formatter(&mut text, indented);
        self.serialize(&mut writer)?;
        Ok(text)
    }
}

/// The file of an attachment.
pub(super) struct File {
    path: PathBuf,
}

impl File {
    pub(super) fn of(folder: &Path, container_id: &str, ifname: &str) -> File {
        let path = folder.join(format!("{container_id}_{ifname}.json"));
        File { path }
    }

    /// What the file has; none if there is none, or none that can be read.
    pub(super) fn read(&self) -> Result<Option<Backup>, Failure> {
        match fs::read(&self.path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if is_missing(&error) => Ok(None),
            Err(source) => Err(self.failed("read", source)),
        }
    }

    pub(super) fn write(&self, backup: &Backup) -> Result<(), Failure> {
        let text = backup.text().map_err(io::Error::other);
        let text = text.map_err(|source| self.failed("write", source))?;
        if let Some(folder) = self.path.parent() {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o600).create(folder);
            made.map_err(|source| self.failed("make the folder of", source))?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&self.path);
        let written = written.and_then(|mut file| file.write_all(&text));
        written.map_err(|source| self.failed("write", source))
    }

    /// Removes the file. That it does not exist is no error.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.path) {
            Err(error) if !is_missing(&error) => Err(self.failed("remove", error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> Failure {
        Failure::File {
            doing,
            path: self.path.clone(),
            source,
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};

    matches!(error.kind(), NotFound | NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_as_the_reference_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::of(&dir.path().join("a/b"), "c1", "eth0");
        assert_eq!(file.read().unwrap(), None);
        let backup = Backup {
            mac: "02:00:00:00:00:01".to_owned(),
            promisc: Some(false),
            mtu: 1500,
            allmulti: Some(false),
            tx_queue: Some(1000),
        };
        file.write(&backup).unwrap();
        let path = dir.path().join("a/b/c1_eth0.json");
        let text = "{\n \"mac\": \"02:00:00:00:00:01\",\n \"promisc\": false,\n \"mtu\": 1500,\n \"allmulti\": false,\n \"txQLen\": 1000\n}";
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(file.read().unwrap(), Some(backup));
        assert_eq!(Backup::default().text().unwrap(), b"{}");
        file.remove().unwrap();
        file.remove().unwrap();
        assert!(!path.exists());
    }
}
