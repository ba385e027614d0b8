//! `ipamctl import host-local`: the data folder of the reference plugin host-local, one file an address
//! (containernetworking/plugins, plugins/ipam/host-local/backend/disk).

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use proto::ipam::v1::Pool;
use proto::ipam::v1::export_item::Item;

use super::held::{Held, item, leases};
use super::send::send;
use crate::cli::error::CliError;
use crate::cli::out::Out;
use crate::cli::pool;
use crate::cli::remote::Remote;

/// Takes in the addresses that host-local holds on this node, as leases of a pool that is there.
///
/// The IPv4 and IPv6 address of one container and interface become one lease. Stop making pods on this node
/// while it runs, and name meta-ipam in the configuration afterwards.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  ipamctl import host-local /var/lib/cni/networks/blue --pool blue --node n1 --dry-run"
)]
pub(crate) struct HostLocalArgs {
    /// Its data folder: /var/lib/cni/networks/NETWORK.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Pool that the addresses are of.
    #[arg(long, value_name = "NAME")]
    pool: String,
    /// Name of the CNI network configuration. Default: the folder's name.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Node that the folder is of. Default: not said.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Interface for files that name none, as versions before 0.7 wrote them.
    #[arg(long, default_value = "eth0", value_name = "NAME")]
    ifname: String,
}

/// What a file says.
#[derive(Debug, PartialEq)]
struct Entry {
    address: IpAddr,
    container: String,
    ifname: Option<String>,
}

pub(super) async fn run(
    args: HostLocalArgs,
    dry_run: bool,
    remote: &Remote,
    out: &mut Out,
) -> Result<(), CliError> {
    let folder = args.folder.clone();
    let entries = tokio::task::spawn_blocking(move || read(&folder)).await;
    let entries = entries
        .unwrap_or_else(|stopped| Err(unreadable(&args.folder, std::io::Error::other(stopped))))?;
    let pool = pool::get(remote, args.pool.clone()).await?;
    let network = match &args.network {
        Some(network) => network.clone(),
        None => folder_name(&args.folder)?,
    };
    let mut problems = Vec::new();
    let mut held = Vec::new();
    for (entry, since) in entries {
        match prefix(&pool, entry.address) {
            Some(prefix) => held.push(Held {
                address: entry.address,
                prefix,
                pool: pool.name.clone(),
                vrf: pool.vrf.clone(),
                container: entry.container,
                ifname: entry.ifname.unwrap_or_else(|| args.ifname.clone()),
                network: network.clone(),
                pod: None,
                since,
            }),
            None => problems.push(format!(
                "{} is not in the networks of pool {}",
                entry.address, pool.name
            )),
        }
    }
    let (mut leases, more) = leases(held);
    problems.extend(more);
    for owner in leases.iter_mut().filter_map(|lease| lease.owner.as_mut()) {
        owner.node = args.node.clone().unwrap_or_default();
    }
    let total = leases.len() as u64;
    let items = leases.into_iter().map(|lease| Ok(item(Item::Lease(lease))));
    send(items, Some(total), dry_run, &problems, remote, out).await
}

fn folder_name(folder: &Path) -> Result<String, CliError> {
    let whole = folder
        .canonicalize()
        .map_err(|source| unreadable(folder, source))?;
    whole
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .ok_or_else(|| CliError::argument("--network", "the folder has no name; give one"))
}

/// The prefix length that a pool's subnet gives to an address; none if it is of neither.
fn prefix(pool: &Pool, address: IpAddr) -> Option<u8> {
    [&pool.ipv4, &pool.ipv6]
        .into_iter()
        .flatten()
        .filter_map(|subnet| subnet.cidr.parse::<IpNetwork>().ok())
        .find(|network| network.contains(address))
        .map(|network| network.prefix())
}

/// All entries, and when each was written.
fn read(folder: &Path) -> Result<Vec<(Entry, Option<Timestamp>)>, CliError> {
    let mut entries = Vec::new();
    for file in std::fs::read_dir(folder).map_err(|source| unreadable(folder, source))? {
        let file = file.map_err(|source| unreadable(folder, source))?;
        let name = file.file_name().to_string_lossy().into_owned();
        let Some(address) = address(&name) else {
            continue;
        };
        let path = file.path();
        let bytes = std::fs::read(&path).map_err(|source| unreadable(&path, source))?;
        let entry =
            entry(address, &String::from_utf8_lossy(&bytes)).ok_or_else(|| CliError::Content {
                place: path.display().to_string(),
                problem: "it names no container; remove the file if the address is free".to_owned(),
            })?;
        let written = file.metadata().and_then(|about| about.modified()).ok();
        entries.push((
            entry,
            written.and_then(|time| Timestamp::try_from(time).ok()),
        ));
    }
    Ok(entries)
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
        let mut entries = read(folder.path()).expect("readable");
        entries.sort_by_key(|(entry, _)| entry.address);
        assert!(entries.iter().all(|(_, since)| since.is_some()));
        let found: Vec<_> = entries
            .iter()
            .map(|(entry, _)| (entry.container.as_str(), entry.ifname.as_deref()))
            .collect();
        assert_eq!(
            found,
            [("abc", Some("eth0")), ("old", None), ("abc", Some("eth0"))]
        );
    }

    #[test]
    fn an_empty_file_is_told_by_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("10.0.0.1"), "\r\n").expect("written");
        let error = read(folder.path()).expect_err("no container").to_string();
        assert!(error.contains("10.0.0.1: it names no container"), "{error}");
    }

    proptest! {
        #[test]
        fn no_content_makes_the_reader_panic(name in ".{0,30}", content in "(?s).{0,60}") {
            let address = address(&name).unwrap_or(IpAddr::from([10, 0, 0, 1]));
            let _ = entry(address, &content);
        }
    }
}
