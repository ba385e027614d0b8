//! The holders of all addresses of a folder, in one file. The folder itself has a file for each address: to find the leases of
//! a container, a plugin without the index reads all of them (at 20,000 leases for half a second).
//!
//! The index is a copy that is trusted while no other plugin has changed the folder: it has the time of the folder's last
//! change and the address that was reserved last, which every ADD of any plugin changes. Only folders of many leases have
//! an index. A plugin that cannot write the index works without it.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Holder;

/// Where the indexes are; they need not outlive a boot.
pub(super) const FOLDER: &str = "/run/cni/host-local";
/// The first line: the state of the folder that the rest is about.
const HEADER_BYTES: usize = 128;
/// A folder of fewer leases is read as fast.
const LEASES: usize = 32;
/// An index that has grown by so much beyond twice of what it was is made anew.
const GROWTH_BYTES: usize = 64 * 1024;

/// The index of one folder.
pub(super) struct Index {
    folder: PathBuf,
    path: PathBuf,
    opened: Option<Opened>,
}

struct Opened {
    file: File,
    /// A line for each lease that was made: address, container, interface. Lines of released ones stay.
    lines: String,
    /// The length of the lines when the index was made.
    first_length: usize,
    is_changing: bool,
}

impl Index {
    /// The index of a folder in `indexes`; one that is not of the folder's present state is none.
    pub(super) fn open(folder: &Path, indexes: &Path) -> Index {
        let path = folder.metadata().map_or_else(
            |_| PathBuf::new(),
            |of| indexes.join(format!("{}-{}", of.dev(), of.ino())),
        );
        let mut index = Index {
            folder: folder.to_owned(),
            path,
            opened: None,
        };
        index.opened = index.read().ok().flatten();
        index
    }

    fn read(&self) -> io::Result<Option<Opened>> {
        let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        let mut lines = String::new();
        file.read_to_string(&mut lines)?;
        let Some((header, _)) = lines.split_at_checked(HEADER_BYTES) else {
            return Ok(None);
        };
        let Some((state, length)) = header.trim_end().rsplit_once(' ') else {
            return Ok(None);
        };
        let first_length = length.parse().ok();
        let first_length = first_length.filter(|_| self.state().is_ok_and(|now| now == state));
        Ok(first_length.map(|first_length| {
            lines.drain(..HEADER_BYTES);
            Opened {
                file,
                lines,
                first_length,
                is_changing: false,
            }
        }))
    }

    /// What changes whenever a plugin makes or releases a lease.
    fn state(&self) -> io::Result<String> {
        let folder = self.folder.metadata()?;
        let last = fs::read_to_string(self.folder.join("last_reserved_ip.0"));
        let last = last.unwrap_or_default();
        let (changed, nanoseconds) = (folder.ctime(), folder.ctime_nsec());
        Ok(format!("{changed}.{nanoseconds:09} {}", last.trim()))
    }

    /// The addresses that the holder may have, and no other has; none if that is not known.
    pub(super) fn candidates(&self, holder: &Holder) -> Option<Vec<IpAddr>> {
        let lines = self.opened.as_ref()?.lines.as_str();
        let of_container = format!("\t{}\t", holder.container);
        let mut found = Vec::new();
        for (at, _) in lines.match_indices(&of_container) {
            let (before, after) = lines.split_at(at);
            let ifname = after
                .get(of_container.len()..)
                .and_then(|rest| rest.lines().next());
            if ifname.is_none_or(|ifname| ifname == holder.ifname || ifname.is_empty()) {
                let start = before.rfind('\n').map_or(0, |end| end + 1);
                let ip = before.get(start..).unwrap_or_default();
                found.extend(ip.parse::<IpAddr>());
            }
        }
        found.sort_unstable();
        found.dedup();
        Some(found)
    }

    /// To be called before the folder is changed: a plugin that is killed leaves no index that is wrong.
    pub(super) fn begin(&mut self) {
        self.attempt(|opened| {
            if !opened.is_changing {
                opened.file.write_all_at(&[b' '; HEADER_BYTES], 0)?;
                opened.is_changing = true;
            }
            Ok(())
        });
    }

    /// Adds a lease.
    pub(super) fn add(&mut self, ip: IpAddr, holder: &Holder) {
        self.attempt(|opened| {
            let line = format!("{ip}\t{}\t{}\n", holder.container, holder.ifname);
            let end = HEADER_BYTES + opened.lines.len();
            opened.file.write_all_at(line.as_bytes(), end as u64)?;
            opened.lines.push_str(&line);
            Ok(())
        });
    }

    /// To be called when the folder is as it stays.
    pub(super) fn end(&mut self) {
        let Ok(state) = self.state() else {
            return self.drop_file();
        };
        self.attempt(|opened| {
            if !opened.is_changing {
                return Ok(());
            }
            if opened.lines.len() > 2 * opened.first_length + GROWTH_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let header = format!("{state} {}", opened.first_length);
            let header = format!("{header:<width$}\n", width = HEADER_BYTES - 1);
            opened.file.write_all_at(header.as_bytes(), 0)?;
            opened.is_changing = false;
            Ok(())
        });
    }

    /// Makes the index anew of all leases: the address and the text of each.
    pub(super) fn fill(&mut self, leases: &[(IpAddr, String)]) {
        if leases.len() < LEASES || self.path.as_os_str().is_empty() {
            return;
        }
        let mut lines = String::new();
        for (ip, text) in leases {
            let (container, ifname) = text.split_once(super::LINE_END).unwrap_or((text, ""));
            // What has other line ends names no attachment.
            if !text.contains('\t') && !ifname.contains('\n') && !container.contains('\n') {
                // A text in memory takes all that is written.
                let _ = writeln!(lines, "{ip}\t{container}\t{ifname}");
            }
        }
        let create = || {
            if let Some(indexes) = self.path.parent() {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(indexes)?;
            }
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&self.path)?;
            file.write_all(&[b' '; HEADER_BYTES])?;
            file.write_all(lines.as_bytes())?;
            Ok::<_, io::Error>(file)
        };
        self.opened = create().ok().map(|file| Opened {
            file,
            first_length: lines.len(),
            lines,
            is_changing: true,
        });
    }

    fn attempt(&mut self, act: impl FnOnce(&mut Opened) -> io::Result<()>) {
        let Some(opened) = &mut self.opened else {
            return;
        };
        if let Err(error) = act(opened) {
            tracing::debug!(path = %self.path.display(), %error, "an index is made anew");
            self.drop_file();
        }
    }

    /// Works without the index until it is made anew.
    pub(super) fn drop_file(&mut self) {
        if self.opened.take().is_some() {
            // A file that stays has no header any more.
            let _ = fs::remove_file(&self.path);
        }
    }
}
