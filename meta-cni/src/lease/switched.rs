//! Networks that lease by meta-ipam on this node, and from where. A pod from before a network named meta-ipam has another
//! IPAM plugin in its record; its address was imported, and its DEL ends that lease too.
//!
//! One file a network, written when the network first leases here: `<stateDir>/leasing/<hash of the network>.json`; removed once it
//! is old and no record needs it ([`crate::sweep`]).

use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fnv::FnvHasher;
use proto::ipam::v1::ReleaseAttachmentRequest;
use serde::{Deserialize, Serialize};

use super::Held;
use crate::ipam::config::{IpamConfig, Server};
use crate::private::private_folder;
use crate::record::{Entry, Record};

/// IPAM plugins whose addresses `ipamctl import` takes in.
const IMPORTED: [&str; 2] = ["host-local", "whereabouts"];

/// Where a network leases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Leasing {
    /// What leases are filed under.
    network: String,
    server: Server,
    timeout_seconds: u64,
    /// Where releases wait.
    state_dir: PathBuf,
}

/// Notes that a network leases by `config`. If it cannot be noted, only DEL of older pods misses it.
pub(super) fn note(state_dir: &Path, network: &str, config: &IpamConfig) {
    if let Err(error) = try_note(state_dir, network, config) {
        let path = file(state_dir, network);
        tracing::warn!(path = %path.display(), %error, "where a network leases is not noted");
    }
}

/// Whether a network is noted to lease by `config`.
pub(crate) fn is_noted(state_dir: &Path, network: &str, config: &IpamConfig) -> bool {
    read(&file(state_dir, network)).as_ref() == Some(&leasing(network, config))
}

/// Notes that a network leases by `config`, if that is not noted yet.
///
/// # Errors
/// What the system says.
pub(crate) fn try_note(state_dir: &Path, network: &str, config: &IpamConfig) -> io::Result<()> {
    match is_noted(state_dir, network, config) {
        true => Ok(()),
        false => write(&file(state_dir, network), &leasing(network, config)),
    }
}

/// Removes the note of a network; none there is success.
///
/// # Errors
/// What the system says.
pub(crate) fn forget(state_dir: &Path, network: &str) -> io::Result<()> {
    match fs::remove_file(file(state_dir, network)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn leasing(network: &str, config: &IpamConfig) -> Leasing {
    Leasing {
        network: network.to_owned(),
        server: config.server.clone(),
        timeout_seconds: config.timeout.as_secs(),
        state_dir: config.state_dir.clone(),
    }
}

/// What an attachment of another IPAM plugin may hold by an import. The lease is filed under the name of the network's
/// configuration, or under namespace and name of its definition: what is not held is released in vain.
pub(super) fn held(state_dir: &Path, record: &Record, entry: &Entry) -> Vec<Held> {
    let attachment = &entry.attachment;
    let names = networks(record, entry);
    let noted = names
        .iter()
        .filter_map(|name| read(&file(state_dir, name)).filter(|leasing| leasing.network == *name));
    let mut places: Vec<Leasing> = Vec::new();
    for leasing in noted {
        if !places.iter().any(|place| place.server == leasing.server) {
            places.push(leasing);
        }
    }
    // The import filed the lease under one of the names.
    let of_names = |leasing: Leasing| {
        let with = move |name: &String| (name.clone(), leasing.clone());
        names.iter().map(with).collect::<Vec<_>>()
    };
    let all = places.into_iter().flat_map(of_names);
    all.map(|(network, leasing)| Held {
        config: IpamConfig {
            pools: Vec::new(),
            server: leasing.server,
            timeout: Duration::from_secs(leasing.timeout_seconds),
            state_dir: leasing.state_dir,
            families: None,
            node: None,
        },
        release: ReleaseAttachmentRequest {
            network,
            container_id: record.container_id.clone(),
            ifname: attachment.ifname.clone(),
        },
        network: attachment.network.clone(),
    })
    .collect()
}

/// The networks that the lease of an imported address may be filed under; none if the attachment's IPAM plugin is none of which
/// addresses are imported.
fn networks(record: &Record, entry: &Entry) -> Vec<String> {
    let attachment = &entry.attachment;
    let plugins = &attachment.list.plugins;
    if !plugins.iter().any(|plugin| {
        plugin
            .ipam_type()
            .is_some_and(|kind| IMPORTED.contains(&kind))
    }) {
        return Vec::new();
    }
    let name = &attachment.list.name;
    // What Multus left names no namespace.
    let of_pod = record
        .pod
        .as_ref()
        .map(|pod| format!("{}/{name}", pod.namespace));
    let mut names = vec![name.clone(), attachment.network.clone()];
    names.extend(of_pod);
    names.sort_unstable();
    names.dedup();
    names
}

/// The names of the files of notes that the DEL of a record may read.
pub(crate) fn notes_of(record: &Record) -> Vec<String> {
    let entries = record.attachments.iter();
    let networks = entries.flat_map(|entry| networks(record, entry));
    networks.map(|network| file_name(&network)).collect()
}

/// None if it is not there or cannot be read: another version of this program may have written it.
fn read(path: &Path) -> Option<Leasing> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write(path: &Path, leasing: &Leasing) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    private_folder(folder)?;
    // Several ADDs of one network may note it at once.
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&serde_json::to_vec(leasing)?)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

fn file(state_dir: &Path, network: &str) -> PathBuf {
    state_dir.join("leasing").join(file_name(network))
}

fn file_name(network: &str) -> String {
    let mut hasher = FnvHasher::default();
    hasher.write(network.as_bytes());
    format!("{:016x}.json", hasher.finish())
}

#[cfg(test)]
pub(crate) mod tests {
    use cni::netconf::NetConfList;
    use serde_json::{Value, json};

    use super::*;
    use crate::attachment::Attachment;
    use crate::cluster::PodRef;

    /// A record of a network `ns/nad` whose configuration has a name, with an IPAM plugin.
    pub(crate) fn record(name: &str, ipam: &Value) -> Record {
        let conf = json!({"cniVersion": "1.0.0", "name": name, "type": "bridge", "ipam": ipam});
        let attachment = Attachment {
            network: "ns/nad".to_owned(),
            ifname: "net1".to_owned(),
            args: String::new(),
            list: NetConfList::from_value(conf).expect("a network"),
            check_by_plugins: false,
            default_route: None,
            device: None,
            device_info_file: None,
        };
        let pod = PodRef {
            namespace: "ns".to_owned(),
            name: "web".to_owned(),
            uid: None,
        };
        Record::planned("c1", "", Some(pod), vec![attachment])
    }

    fn config(server: &str) -> IpamConfig {
        let conf = json!({"ipam": {"type": "meta-ipam", "pool": "p", "server": server, "timeoutSeconds": 3}});
        let conf = conf.as_object().expect("an object");
        IpamConfig::of(conf).expect("right").expect("ours")
    }

    /// Notes that a network leases; the note.
    pub(crate) fn noted(state_dir: &Path, network: &str) -> PathBuf {
        note(state_dir, network, &config("unix:///server"));
        file(state_dir, network)
    }

    #[test]
    fn an_attachment_of_before_a_network_leased_by_meta_ipam_may_hold_an_imported_lease() {
        let folder = tempfile::tempdir().expect("a folder");
        note(folder.path(), "blue", &config("unix:///old"));
        note(folder.path(), "blue", &config("unix:///new"));
        note(folder.path(), "ns/nad", &config("unix:///nameless"));
        for (name, ipam, expected) in [
            (
                "blue",
                json!({"type": "host-local"}),
                vec![
                    "blue at unix:///new",
                    "ns/blue at unix:///new",
                    "ns/nad at unix:///new",
                    "blue at unix:///nameless",
                    "ns/blue at unix:///nameless",
                    "ns/nad at unix:///nameless",
                ],
            ),
            (
                "nad",
                json!({"type": "whereabouts"}),
                vec!["nad at unix:///nameless", "ns/nad at unix:///nameless"],
            ),
            ("blue", json!({"type": "static"}), vec![]),
            ("blue", json!({"type": "meta-ipam", "pool": "p"}), vec![]),
        ] {
            let record = record(name, &ipam);
            let entry = &record.attachments[0];
            let held = held(folder.path(), &record, entry);
            let summary: Vec<_> = held
                .iter()
                .map(|held| format!("{} at {}", held.release.network, held.config.server.address))
                .collect();
            assert_eq!(summary, expected, "{name} {ipam}");
            assert!(
                held.iter()
                    .all(|held| held.release.container_id == "c1" && held.release.ifname == "net1")
            );
        }
    }

    #[test]
    fn where_nothing_is_noted_nothing_is_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let record = record("blue", &json!({"type": "host-local"}));
        assert!(held(folder.path(), &record, &record.attachments[0]).is_empty());
        note(folder.path(), "blue", &config("unix:///a"));
        std::fs::write(file(folder.path(), "blue"), "{").expect("written");
        assert!(held(folder.path(), &record, &record.attachments[0]).is_empty());
    }
}
