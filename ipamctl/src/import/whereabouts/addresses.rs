//! Which address each holder of a dump has: IPPools name it by an offset, reservations by their name, and where
//! these are in doubt, pods by their status.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::WhereaboutsArgs;
use super::decode::decode;
use super::dump::{Dump, IpPool, Reservation, Written};
use super::filing::Filing;
use super::names::{self, PoolName};
use super::pods::Pod;
use crate::import::held::{Destination, Held, Holder};
use crate::import::ranges::Range;
use crate::import::source::{Holdings, Source};
use crate::labels::{PodName, pod};

/// The interface of a holder that names none, as old versions wrote it: Multus' first.
const FIRST_INTERFACE: &str = "net1";

/// What a dump holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) held: Vec<Held>,
    /// Ranges that need a pool.
    pub(super) ranges: Vec<Range>,
    /// VRFs and ranges of which the dump has every allocation.
    pub(super) covered: BTreeSet<(String, IpNetwork)>,
    /// To compare leases of an earlier import with.
    pub(super) holdings: Holdings,
    /// A sentence with its place for each entry that makes no sense.
    pub(super) problems: Vec<String>,
    /// Sentences that a person should read.
    pub(super) notes: Vec<String>,
}

/// An IPPool with what its name says.
struct Known<'d> {
    pool: &'d IpPool,
    name: PoolName<'d>,
    /// Without host bits.
    cidr: IpNetwork,
}

impl Known<'_> {
    /// The range that networks name.
    fn whole(&self) -> IpNetwork {
        self.name
            .slice_of
            .map_or(self.cidr, |slices| plain(slices.range))
    }
}

/// A reservation with its address.
#[derive(Clone, Copy)]
struct Reserved<'d> {
    network_name: &'d str,
    address: IpAddr,
    reservation: &'d Reservation,
}

/// Reads everything that is held.
pub(super) fn find(dump: &Dump, args: &WhereaboutsArgs) -> Found {
    let known: Vec<Known<'_>> = dump
        .pools
        .iter()
        .map(|pool| Known {
            name: names::of_pool(pool, &dump.slices),
            cidr: plain(pool.range),
            pool,
        })
        .collect();
    let mut finder = Finder {
        dump,
        args,
        found: Found::default(),
        by_address: BTreeMap::new(),
        filing: Filing::new(dump, args.network.as_deref()),
        reserved: Vec::new(),
        known: &known,
    };
    finder.ranges();
    finder.reservations();
    for range in &known {
        for (offset, value) in &range.pool.allocations {
            finder.allocation(range, offset, value);
        }
    }
    for reserved in finder.reserved.clone() {
        finder.reservation(reserved);
    }
    finder.found.notes.append(&mut finder.filing.notes);
    finder.found
}

struct Finder<'d, 'k> {
    dump: &'d Dump,
    args: &'d WhereaboutsArgs,
    known: &'k [Known<'d>],
    reserved: Vec<Reserved<'d>>,
    found: Found,
    /// Where in `found.held` an address of a network_name is.
    by_address: BTreeMap<(String, IpAddr), usize>,
    filing: Filing<'d>,
}

impl<'d> Finder<'d, '_> {
    fn vrf(&self, network_name: &str) -> String {
        match (&self.args.vrf, network_name) {
            (Some(vrf), _) => vrf.clone(),
            (None, "") => "default".to_owned(),
            (None, name) => name.to_owned(),
        }
    }

    /// The ranges of IPPools, with what networks say of each. Slices are of their whole range.
    fn ranges(&mut self) {
        let mut ranges: BTreeMap<(String, IpNetwork), Range> = BTreeMap::new();
        for known in self.known {
            let vrf = self.vrf(known.name.network_name);
            self.found.covered.insert((vrf.clone(), known.cidr));
            let whole = known.whole();
            ranges.entry((vrf.clone(), whole)).or_insert_with(|| Range {
                cidr: whole,
                vrf,
                name: known.name.network_name.to_owned(),
                settings: self
                    .filing
                    .networks(known.name.network_name, whole)
                    .flat_map(|network| {
                        network
                            .settings
                            .iter()
                            .filter(move |setting| setting.cidr == whole)
                    })
                    .cloned()
                    .collect(),
            });
        }
        self.found.ranges = ranges.into_values().collect();
    }

    /// Reads the addresses of all reservations.
    fn reservations(&mut self) {
        for reservation in &self.dump.reservations {
            let ways = names::of_reservation(&reservation.name);
            let of_range = ways.iter().find(|(name, address)| {
                self.range_of(name, *address).is_some()
                    || self.dump.networks.iter().any(|network| {
                        network.network_name == *name
                            && network
                                .settings
                                .iter()
                                .any(|one| one.cidr.contains(*address))
                    })
            });
            match of_range.or(ways.first()) {
                Some(&(network_name, address)) => self.reserved.push(Reserved {
                    network_name,
                    address,
                    reservation,
                }),
                None => self.found.problems.push(format!(
                    "OverlappingRangeIPReservation {}: its name holds no address",
                    reservation.name
                )),
            }
        }
    }

    /// The smallest IPPool that has an address.
    fn range_of(&self, network_name: &str, address: IpAddr) -> Option<&Known<'d>> {
        let of_name = self
            .known
            .iter()
            .filter(|known| known.name.network_name == network_name);
        of_name
            .filter(|known| known.cidr.contains(address))
            .max_by_key(|known| known.cidr.prefix())
    }

    fn allocation(&mut self, range: &Known<'d>, offset: &str, value: &serde_json::Value) {
        let written = match value {
            serde_json::Value::Null => Err("it names no holder".to_owned()),
            value => decode::<Written>(value.clone()).and_then(named),
        };
        let written = match written {
            Ok(written) => written,
            Err(problem) => {
                self.found
                    .holdings
                    .doubtful
                    .extend(exact(range.pool.range, offset));
                let place = format!("IPPool {}, allocation {offset}", range.pool.name);
                return self.found.problems.push(format!("{place}: {problem}"));
            }
        };
        let Some(address) = self.address(range, offset, &written) else {
            self.found
                .holdings
                .doubtful_containers
                .insert(written.id.clone());
            return self.found.problems.push(format!(
                "IPPool {}, allocation {offset} ({}): it is not an offset in {}, and no reservation or pod has the address",
                range.pool.name,
                written.describe(),
                range.cidr
            ));
        };
        self.hold(
            range.name.network_name,
            Some(range),
            address,
            &written,
            Source::Whereabouts,
        );
    }

    /// The address of an allocation. whereabouts keeps 64 bits of an offset; for entries that it cannot read back, only
    /// reservations and pods have the address.
    fn address(&self, range: &Known<'_>, offset: &str, written: &Written) -> Option<IpAddr> {
        let exact = exact(range.pool.range, offset);
        let cut = range.cidr.is_ipv6() && range.cidr.prefix() < 64;
        let named = self.named_elsewhere(range, written);
        if let (Some(low), true) = (exact.filter(|_| offset.parse::<u64>().is_ok()), cut) {
            let low = low_bits(low);
            let named = named.iter().find(|address| low_bits(**address) == low);
            return named.copied().or_else(|| self.lifted(range, low)).or(exact);
        }
        match (exact, &named[..]) {
            (Some(exact), _) => Some(exact),
            (None, [one]) => Some(*one),
            (None, _) => None,
        }
    }

    /// The addresses of a range that a holder has by reservations and pods.
    fn named_elsewhere(&self, range: &Known<'_>, written: &Written) -> Vec<IpAddr> {
        let reserved = self.reserved.iter().filter(|one| {
            one.network_name == range.name.network_name && one.reservation.holder.may_be(written)
        });
        let mut named: BTreeSet<IpAddr> = reserved.map(|one| one.address).collect();
        if let Some(pod) = self.pod(written) {
            let interfaces = pod.interfaces.iter().filter(|interface| {
                written.ifname.is_empty() || interface.interface == written.ifname
            });
            named.extend(interfaces.flat_map(|interface| interface.ips.iter().copied()));
        }
        named
            .into_iter()
            .filter(|address| range.cidr.contains(*address))
            .collect()
    }

    /// The address with these low bits that a network's range_start and range_end allow.
    fn lifted(&self, range: &Known<'_>, low: u64) -> Option<IpAddr> {
        let settings = self
            .filing
            .networks(range.name.network_name, range.whole())
            .flat_map(|network| &network.settings)
            .filter(|setting| setting.cidr == range.whole());
        let mut spans = settings.filter_map(|setting| match setting.span {
            (IpAddr::V6(first), IpAddr::V6(last)) => Some((u128::from(first), u128::from(last))),
            _ => None,
        });
        spans.find_map(|(first, last)| {
            let same_high = (first & !u128::from(u64::MAX)) | u128::from(low);
            let address = match same_high < first {
                true => same_high.checked_add(1 << 64)?,
                false => same_high,
            };
            (address <= last).then(|| IpAddr::V6(address.into()))
        })
    }

    fn reservation(&mut self, reserved: Reserved<'d>) {
        let Reserved {
            network_name,
            address,
            reservation,
        } = reserved;
        let place = format!("OverlappingRangeIPReservation {}", reservation.name);
        let written = match named(reservation.holder.clone()) {
            Ok(written) => written,
            Err(problem) => {
                self.found.holdings.doubtful.insert(address);
                return self.found.problems.push(format!("{place}: {problem}"));
            }
        };
        let existing = self.by_address.get(&(network_name.to_owned(), address));
        let Some(held) = existing.and_then(|&at| self.found.held.get(at)) else {
            let known = self.known;
            let range = known
                .iter()
                .filter(|known| {
                    known.name.network_name == network_name && known.cidr.contains(address)
                })
                .max_by_key(|known| known.cidr.prefix());
            return self.hold(
                network_name,
                range,
                address,
                &written,
                Source::WhereaboutsReservation,
            );
        };
        if !held.holder.container.is_empty()
            && !written.id.is_empty()
            && held.holder.container != written.id
        {
            self.found.notes.push(format!(
                "{address}: an IPPool has it for container {}, {place} for {}: the lease belongs to the former",
                held.holder.container,
                written.describe()
            ));
            // Neither of them is certainly gone.
            self.found.holdings.add(address, &written.id);
        }
    }

    /// Takes in that an address is held.
    fn hold(
        &mut self,
        network_name: &str,
        range: Option<&Known<'d>>,
        address: IpAddr,
        written: &Written,
        source: Source,
    ) {
        let key = (network_name.to_owned(), address);
        let existing = self
            .by_address
            .get(&key)
            .and_then(|&at| self.found.held.get(at));
        if existing.is_some_and(|held| held.holder.container == written.id) {
            return;
        }
        let pod = self.pod(written);
        let interface = pod.and_then(|pod| pod.with_address(address));
        let by_pod = interface.map(|one| one.interface.as_str());
        let by_entry = Some(written.ifname.as_str()).filter(|name| !name.is_empty());
        let ifname = by_entry.or(by_pod.filter(|name| !name.is_empty()));
        let name = pod_name(written);
        let (network, certain) = self.filing.network(
            network_name,
            range.map(|range| (range.pool.name.as_str(), range.whole())),
            name.as_ref(),
            pod,
            ifname.unwrap_or(FIRST_INTERFACE),
        );
        let slice = range.map(|range| range.name.node);
        let node = pod
            .map(|pod| pod.node.as_str())
            .filter(|node| !node.is_empty());
        // GC ends what its network and node do not list: never what is filed under a guess.
        let node = node.or(slice).filter(|_| certain && ifname.is_some());
        let ifname = ifname.unwrap_or(FIRST_INTERFACE).to_owned();
        self.found.holdings.add(address, &written.id);
        self.by_address.entry(key).or_insert(self.found.held.len());
        self.found.held.push(Held {
            address,
            vrf: self.vrf(network_name),
            destination: Destination::default(),
            holder: Holder {
                container: written.id.clone(),
                ifname,
                network,
                node: node.unwrap_or_default().to_owned(),
                cluster: self.args.cluster.clone(),
                pod_uid: pod.map(|pod| pod.uid.clone()).unwrap_or_default(),
                pod: name,
            },
            since: None,
            source,
        });
    }

    fn pod(&self, written: &Written) -> Option<&'d Pod> {
        self.dump.pods.get(&pod_name(written)?)
    }
}

impl Written {
    /// Whether this may be the holder of another object.
    fn may_be(&self, other: &Written) -> bool {
        let same = |one: &str, two: &str| one.is_empty() || two.is_empty() || one == two;
        let known = match self.id.is_empty() || other.id.is_empty() {
            true => !self.podref.is_empty() && self.podref == other.podref,
            false => self.id == other.id,
        };
        known && same(&self.ifname, &other.ifname)
    }

    fn describe(&self) -> String {
        match (self.podref.as_str(), self.id.as_str()) {
            ("", id) => format!("container {id}"),
            (pod, _) => format!("pod {pod}"),
        }
    }
}

/// A holder, if it is any.
fn named(written: Written) -> Result<Written, String> {
    match written.id.is_empty() && pod_name(&written).is_none() {
        true => Err("it names neither a container nor a pod".to_owned()),
        false => Ok(written),
    }
}

fn pod_name(written: &Written) -> Option<PodName> {
    (!written.podref.is_empty())
        .then(|| pod(&written.podref).ok())
        .flatten()
}

/// Without host bits.
fn plain(range: IpNetwork) -> IpNetwork {
    IpNetwork::new(range.network(), range.prefix()).unwrap_or(range)
}

/// The address at an offset from the one that a range is written with, if it is in the range.
fn exact(range: IpNetwork, offset: &str) -> Option<IpAddr> {
    let offset: u128 = offset.parse().ok()?;
    let address = match range.ip() {
        IpAddr::V4(first) => {
            let offset = u32::try_from(offset).ok()?;
            IpAddr::V4(u32::from(first).checked_add(offset)?.into())
        }
        IpAddr::V6(first) => IpAddr::V6(u128::from(first).checked_add(offset)?.into()),
    };
    range.contains(address).then_some(address)
}

/// The low 64 bits of an IPv6 address; 0 of an IPv4 address, whose offsets are never cut.
fn low_bits(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(address) => {
            let [.., a, b, c, d, e, f, g, h] = address.octets();
            u64::from_be_bytes([a, b, c, d, e, f, g, h])
        }
    }
}

#[cfg(test)]
mod tests;
