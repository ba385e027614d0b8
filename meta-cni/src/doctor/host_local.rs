//! How full the address folders of host-local are: one file an address, in `dataDir` under the network's name.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::key;
use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::Value;

use super::addresses::is_low;
use super::finding::{Area, Finding};
use super::networks::Network;

/// Where host-local keeps its files by default.
const DATA_DIR: &str = "/var/lib/cni/networks";

/// The addresses of a network.
pub(super) struct Folder {
    path: PathBuf,
    network: String,
    /// Each set gives one address to a pod.
    sets: Vec<Vec<Range>>,
    taken: Vec<IpAddr>,
}

/// `ipam` of host-local in lower case, as far as it says which addresses there are.
#[derive(Deserialize)]
struct HostLocal {
    #[serde(default, rename = "datadir")]
    data_dir: Option<PathBuf>,
    #[serde(default)]
    ranges: Vec<Vec<Range>>,
    #[serde(flatten)]
    single: Option<Range>,
}

/// A range of addresses.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Range {
    subnet: IpNetwork,
    #[serde(default, rename = "rangestart")]
    range_start: Option<IpAddr>,
    #[serde(default, rename = "rangeend")]
    range_end: Option<IpAddr>,
    #[serde(default)]
    gateway: Option<IpAddr>,
}

/// Lists the folders of the networks that are used here. What host-local itself could not read is left to it.
pub(super) fn inspect(networks: &[Network]) -> Vec<Folder> {
    let mut folders = Vec::new();
    for network in networks.iter().filter(|network| !network.users.is_empty()) {
        let Ok(found) = &network.found else {
            continue;
        };
        for plugin in &found.list.plugins {
            let is_host_local = plugin.ipam_type() == Some("host-local");
            let ipam = plugin.get("ipam").filter(|_| is_host_local);
            if let Some((data_dir, sets)) = ipam.and_then(read) {
                let path = data_dir.join(&found.list.name);
                folders.push(Folder {
                    taken: taken(&path),
                    network: network.described(),
                    path,
                    sets,
                });
            }
        }
    }
    folders
}

fn read(ipam: &Value) -> Option<(PathBuf, Vec<Vec<Range>>)> {
    let ipam: HostLocal = serde_json::from_value(key::in_lower_case(ipam)).ok()?;
    let mut sets = ipam.ranges;
    sets.extend(ipam.single.map(|range| vec![range]));
    Some((ipam.data_dir.unwrap_or_else(|| DATA_DIR.into()), sets))
}

/// The addresses that files are named after.
fn taken(folder: &Path) -> Vec<IpAddr> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.file_name().to_str()?.parse().ok())
        .collect()
}

/// Which folders are full, or nearly.
pub(super) fn check(folders: &[Folder]) -> Vec<Finding> {
    let sets = folders
        .iter()
        .flat_map(|folder| folder.sets.iter().map(move |set| (folder, set)));
    sets.filter_map(|(folder, set)| of_set(folder, set))
        .collect()
}

fn of_set(folder: &Folder, set: &[Range]) -> Option<Finding> {
    let capacity = set
        .iter()
        .map(Range::capacity)
        .fold(0, u128::saturating_add);
    let taken = folder
        .taken
        .iter()
        .filter(|address| set.iter().any(|range| range.gives(**address)))
        .count();
    let free = capacity.saturating_sub(taken as u128);
    let subnets: Vec<_> = set.iter().map(|range| range.subnet.to_string()).collect();
    let subnets = subnets.join(", ");
    let remedy = "widen the range of the network, or remove files of containers that are gone (their second line names the interface, the first the container)";
    let found = if capacity > 0 && free == 0 {
        let cause =
            format!("host-local has no address of {subnets} left: all {capacity} are taken");
        Finding::fault(Area::Addresses, cause, remedy)
    } else if is_low(free, capacity) {
        let cause = format!("host-local has {free} of {capacity} addresses of {subnets} left");
        Finding::warning(Area::Addresses, cause, remedy)
    } else {
        return None;
    };
    Some(found.seen(format!(
        "{}, files in {}",
        folder.network,
        folder.path.display()
    )))
}

impl Range {
    /// The first and last address, as host-local sets them by default: without those of the subnet itself.
    fn bounds(&self) -> (u128, u128) {
        let last = match self.subnet {
            IpNetwork::V4(_) => number(self.subnet.broadcast()).saturating_sub(1),
            IpNetwork::V6(_) => number(self.subnet.broadcast()),
        };
        (
            self.range_start
                .map_or(number(self.subnet.network()).saturating_add(1), number),
            self.range_end.map_or(last, number),
        )
    }

    /// The gateway, the first address of the subnet if none is given: it is not given to a pod.
    fn gateway(&self) -> u128 {
        self.gateway
            .map_or(number(self.subnet.network()).saturating_add(1), number)
    }

    fn capacity(&self) -> u128 {
        let (first, last) = self.bounds();
        let Some(distance) = last.checked_sub(first) else {
            return 0;
        };
        let has_gateway = (first..=last).contains(&self.gateway());
        distance.saturating_add(u128::from(!has_gateway))
    }

    fn gives(&self, address: IpAddr) -> bool {
        let (first, last) = self.bounds();
        address.is_ipv4() == self.subnet.is_ipv4() && (first..=last).contains(&number(address))
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn folder(ipam: Value, taken: &[&str]) -> Folder {
        let (_, sets) = read(&ipam).unwrap();
        Folder {
            path: "/f".into(),
            network: "network a".to_owned(),
            sets,
            taken: taken.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_case_of_keys_does_not_matter() {
        let (dir, sets) = read(&json!({
            "Type": "host-local", "DataDir": "/d",
            "RANGES": [[{"Subnet": "10.1.0.0/16", "RangeStart": "10.1.0.5", "rangeend": "10.1.0.6"}]],
        }))
        .unwrap();
        assert_eq!(dir, Path::new("/d"));
        assert_eq!(sets[0][0].capacity(), 2);
    }

    #[test]
    fn each_set_is_counted_for_itself() {
        let ipam = json!({"type": "host-local", "ranges": [
            [{"subnet": "10.0.0.0/29"}],
            [{"subnet": "fd00::/64"}],
            [{"subnet": "10.1.0.0/16", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.6", "gateway": "10.1.0.1"}],
        ]});
        let full = ["10.1.0.5", "10.1.0.6"];
        let causes = |taken: &[&str]| -> Vec<String> {
            check(&[folder(ipam.clone(), taken)])
                .into_iter()
                .map(|found| found.cause)
                .collect()
        };
        assert!(causes(&["10.0.0.2", "fd00::2"]).is_empty());
        assert_eq!(
            causes(&full),
            ["host-local has no address of 10.1.0.0/16 left: all 2 are taken"]
        );
        let low = ["10.0.0.2", "10.0.0.3", "10.0.0.4"];
        assert_eq!(
            causes(&low),
            ["host-local has 2 of 5 addresses of 10.0.0.0/29 left"]
        );
    }

    #[test]
    fn the_older_form_is_read() {
        let (dir, sets) =
            read(&json!({"type": "host-local", "subnet": "10.0.0.0/24", "dataDir": "/x"})).unwrap();
        assert_eq!(
            (dir, sets.len(), sets[0][0].capacity()),
            ("/x".into(), 1, 253)
        );
        assert_eq!(read(&json!({"type": "host-local"})).unwrap().1.len(), 0);
        assert!(read(&json!({"type": "host-local", "ranges": 7})).is_none());
    }
}
