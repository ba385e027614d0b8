//! `ipamctl import host-local`: the data folder of the reference plugin host-local, one file an address
//! (containernetworking/plugins, plugins/ipam/host-local/backend/disk).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use proto::ipam::v1::Pool;
use proto::ipam::v1::export_item::Item;

use super::held::{Destination, Held, Holder, item, leases};
use super::send::{Beside, send};
use super::source::{Holdings, LABEL, Source, release_gone};
use crate::error::CliError;
use crate::lease::list::term;
use crate::out::Out;
use crate::pool;
use crate::remote::Remote;

/// Imports the addresses that host-local holds on this node, as leases of an existing pool.
///
/// The IPv4 and IPv6 address of one container and interface become one lease. A file that cannot be read is
/// reported on stderr and left out. Start no pods on this node during the import, and name meta-ipam in the
/// configuration afterwards. Repeat the import later: with --node, leases whose file is gone end. Exit code 1 if
/// an address is not imported.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  ipamctl import host-local /var/lib/cni/networks/blue --pool blue --node n1 --dry-run"
)]
pub(crate) struct HostLocalArgs {
    /// Data folder of host-local: /var/lib/cni/networks/NETWORK.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Pool of the addresses.
    #[arg(long, value_name = "NAME")]
    pool: String,
    /// Network by which DEL and GC find the leases: `name` of the CNI configuration, or NAMESPACE/NAME of a
    /// NetworkAttachmentDefinition whose configuration has no name. [default: the folder's name]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Node of the folder; GC needs it. [default: none]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Cluster of the node, where one server serves several clusters. [default: none]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    cluster: String,
    /// Interface of files that name none, as versions before 0.7 wrote them. [default: eth0, which GC does not find]
    #[arg(long, value_name = "NAME")]
    ifname: Option<String>,
}

/// What a file says.
#[derive(Debug, PartialEq)]
struct Entry {
    address: IpAddr,
    container: String,
    ifname: Option<String>,
    written: Option<Timestamp>,
}

/// What a data folder holds.
#[derive(Debug, Default)]
struct Folder {
    entries: Vec<Entry>,
    /// Addresses whose file cannot be read or makes no sense, and why.
    wrong: BTreeMap<IpAddr, String>,
}

pub(super) async fn run(
    args: HostLocalArgs,
    dry_run: bool,
    remote: &Remote,
    out: &mut Out,
) -> Result<(), CliError> {
    let path = args.folder.clone();
    let folder = tokio::task::spawn_blocking(move || read(&path)).await;
    let folder = folder
        .unwrap_or_else(|stopped| Err(unreadable(&args.folder, std::io::Error::other(stopped))))?;
    let pool = pool::get(remote, args.pool.clone()).await?;
    let network = match &args.network {
        Some(network) => network.clone(),
        None => folder_name(&args.folder)?,
    };
    let mut beside = Beside {
        problems: folder.wrong.values().cloned().collect(),
        ..Beside::default()
    };
    let mut held = Vec::new();
    let mut holdings = Holdings::default();
    holdings.doubtful.extend(folder.wrong.keys());
    for entry in folder.entries {
        holdings.add(entry.address, &entry.container);
        match prefix(&pool, entry.address) {
            Some(prefix) => held.push(entry.held(&args, &network, &pool, prefix)),
            None => beside.problems.push(format!(
                "{} is not in the networks of pool {}",
                entry.address, pool.name
            )),
        }
    }
    match &args.node {
        Some(node) => {
            let filter = [
                ("state", "ACTIVE"),
                (&format!("labels.{LABEL}"), Source::HostLocal.name()),
                ("owner.network", &network),
                ("owner.node", node),
                ("owner.cluster", &args.cluster),
            ]
            .map(|(field, value)| term(field, value))
            .join(" AND ");
            let gone = release_gone(filter, |_| true, &holdings, dry_run, remote).await?;
            beside.released = gone.released;
            beside.notes = gone.stays;
        }
        None => beside.notes.push(
            "without --node, GC does not find these leases, and leases whose file is gone stay"
                .to_owned(),
        ),
    }
    let (leases, rest) = leases(held);
    beside.problems.extend(rest);
    let total = leases.len() as u64;
    let items = leases.into_iter().map(|lease| Ok(item(Item::Lease(lease))));
    send(items, Some(total), dry_run, beside, remote, out).await
}

impl Entry {
    fn held(self, args: &HostLocalArgs, network: &str, pool: &Pool, prefix: u8) -> Held {
        let ifname = self.ifname.or_else(|| args.ifname.clone());
        // GC ends what its node does not list: never what has a guessed interface.
        let node = args.node.clone().filter(|_| ifname.is_some());
        Held {
            address: self.address,
            vrf: pool.vrf.clone(),
            destination: Destination {
                pool: pool.name.clone(),
                prefix,
            },
            holder: Holder {
                container: self.container,
                ifname: ifname.unwrap_or_else(|| "eth0".to_owned()),
                network: network.to_owned(),
                node: node.unwrap_or_default(),
                cluster: args.cluster.clone(),
                ..Holder::default()
            },
            since: self.written,
            source: Source::HostLocal,
        }
    }
}

fn folder_name(folder: &Path) -> Result<String, CliError> {
    let whole = folder
        .canonicalize()
        .map_err(|source| unreadable(folder, source))?;
    whole
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .ok_or_else(|| CliError::argument("--network", "the folder has no name; name the network"))
}

/// The prefix length of the pool's subnet that contains an address; none if no subnet contains it.
fn prefix(pool: &Pool, address: IpAddr) -> Option<u8> {
    [&pool.ipv4, &pool.ipv6]
        .into_iter()
        .flatten()
        .filter_map(|subnet| subnet.cidr.parse::<IpNetwork>().ok())
        .find(|network| network.contains(address))
        .map(|network| network.prefix())
}

/// All entries.
///
/// # Errors
/// If the folder cannot be read, or has nothing of host-local.
fn read(path: &Path) -> Result<Folder, CliError> {
    let mut folder = Folder::default();
    let mut known = false;
    for file in std::fs::read_dir(path).map_err(|source| unreadable(path, source))? {
        let file = file.map_err(|source| unreadable(path, source))?;
        let name = file.file_name().to_string_lossy().into_owned();
        let Some(address) = address(&name) else {
            known |= name == "lock" || name.starts_with("last_reserved_ip");
            continue;
        };
        let path = file.path();
        let entry = match std::fs::read(&path) {
            Ok(bytes) => entry(address, &String::from_utf8_lossy(&bytes)).ok_or_else(|| {
                format!(
                    "{}: it names no container; remove the file if the address is free",
                    path.display()
                )
            }),
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        };
        let written = file.metadata().and_then(|about| about.modified()).ok();
        match entry {
            Ok(entry) => folder.entries.push(Entry {
                written: written.and_then(|time| Timestamp::try_from(time).ok()),
                ..entry
            }),
            Err(problem) => drop(folder.wrong.insert(address, problem)),
        }
    }
    // Of an empty folder, everything that an earlier import made would be gone.
    if folder.entries.is_empty() && folder.wrong.is_empty() && !known {
        return Err(CliError::Content {
            place: path.display().to_string(),
            problem: "it has no file of host-local; name /var/lib/cni/networks/NETWORK".to_owned(),
        });
    }
    Ok(folder)
}

/// The address that a file is named after; none for `lock` and `last_reserved_ip.*`.
fn address(name: &str) -> Option<IpAddr> {
    // On Windows host-local writes _ for the colons of IPv6.
    name.replace('_', ":").parse().ok()
}

/// `containerID\r\nifname`, or only the id.
fn entry(address: IpAddr, content: &str) -> Option<Entry> {
    let mut lines = content
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let container = lines.next()?.to_owned();
    let ifname = lines.next().map(str::to_owned);
    Some(Entry {
        address,
        container,
        ifname,
        written: None,
    })
}

fn unreadable(path: &Path, source: std::io::Error) -> CliError {
    CliError::File {
        doing: "read",
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_folder_gives_its_addresses_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in [
            ("10.20.0.7", "abc\r\neth0"),
            ("fd00:20::7", "abc\r\neth0"),
            ("10.20.0.8", "old"),
            ("last_reserved_ip.0", "10.20.0.8"),
            ("lock", ""),
        ] {
            std::fs::write(folder.path().join(name), content).expect("written");
        }
        let mut entries = read(folder.path()).expect("readable").entries;
        entries.sort_by_key(|entry| entry.address);
        assert!(entries.iter().all(|entry| entry.written.is_some()));
        let found: Vec<_> = entries
            .iter()
            .map(|entry| (entry.container.as_str(), entry.ifname.as_deref()))
            .collect();
        assert_eq!(
            found,
            [("abc", Some("eth0")), ("old", None), ("abc", Some("eth0"))]
        );
    }

    #[test]
    fn each_file_that_makes_no_sense_is_reported_by_its_path_and_the_others_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("10.0.0.1"), "\r\n").expect("written");
        std::fs::create_dir(folder.path().join("10.0.0.2")).expect("made");
        std::fs::write(folder.path().join("10.0.0.3"), "abc\r\neth0").expect("written");
        let found = read(folder.path()).expect("readable");
        assert_eq!(found.entries.len(), 1);
        let problems: Vec<_> = found.wrong.into_values().collect();
        for (at, words) in [
            (0, "10.0.0.1: it names no container"),
            (1, "10.0.0.2 cannot be read"),
        ] {
            assert!(problems[at].contains(words), "{problems:?}");
        }
    }

    #[test]
    fn a_folder_that_is_not_of_host_local_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("blue")).expect("made");
        let error = read(folder.path()).expect_err("another folder");
        assert!(
            error.to_string().contains("no file of host-local"),
            "{error}"
        );
        std::fs::write(folder.path().join("lock"), "").expect("written");
        assert!(read(folder.path()).expect("empty").entries.is_empty());
    }

    proptest! {
        #[test]
        fn no_content_makes_the_reader_panic(name in ".{0,30}", content in "(?s).{0,60}") {
            let address = address(&name).unwrap_or(IpAddr::from([10, 0, 0, 1]));
            let _ = entry(address, &content);
        }
    }
}
