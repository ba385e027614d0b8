//! The names of whereabouts' objects: a name has what its object does not say (`IPPoolName`, `NormalizeIP` in
//! whereabouts' pkg/storage/kubernetes/ipam.go).

use std::net::IpAddr;

use super::dump::{IpPool, Slices};

/// What the name of an IPPool says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PoolName<'d> {
    /// `network_name` of the networks that lease from it; empty: they have none.
    pub(super) network_name: &'d str,
    /// The node whose slice it is; empty: it is no slice.
    pub(super) node: &'d str,
    /// What it is a slice of.
    pub(super) slice_of: Option<&'d Slices>,
}

/// Reads `[NETWORK_NAME-][NODE-]RANGE`.
pub(super) fn of_pool<'d>(pool: &'d IpPool, slices: &'d [Slices]) -> PoolName<'d> {
    let plain = pool.written.replace([':', '/'], "-");
    // A 0 stands behind a range's closing colons in some versions, since a name may not have a - there.
    let closed = pool.written.replace("::/", "::0/").replace([':', '/'], "-");
    let rest = [plain, closed]
        .iter()
        .find_map(|range| pool.name.strip_suffix(range.as_str()))
        .unwrap_or_default();
    let rest = rest.strip_suffix('-').unwrap_or(rest);
    for all in slices {
        for (node, slice) in &all.of_nodes {
            if *slice != pool.range {
                continue;
            }
            let before = rest.strip_suffix(node.as_str());
            let network_name = before.and_then(|before| match before {
                "" => Some(""),
                before => before.strip_suffix('-').filter(|name| *name == all.name),
            });
            if let Some(network_name) = network_name {
                return PoolName {
                    network_name,
                    node,
                    slice_of: Some(all),
                };
            }
        }
    }
    PoolName {
        network_name: rest,
        ..PoolName::default()
    }
}

/// All ways to read `[NETWORK_NAME-]ADDRESS`, where colons of the address are dashes: the shortest network name first.
pub(super) fn of_reservation(name: &str) -> Vec<(&str, IpAddr)> {
    let starts = std::iter::once(0).chain(name.match_indices('-').map(|(at, _)| at + 1));
    let read = |at: usize| {
        let (network, address) = name.split_at(at);
        let address = address
            .parse()
            .ok()
            .or_else(|| address.replace('-', ":").parse().ok())?;
        Some((network.strip_suffix('-').unwrap_or(network), address))
    };
    starts.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn pool(name: &str, range: &str) -> IpPool {
        IpPool {
            name: name.to_owned(),
            written: range.to_owned(),
            range: range.parse().expect("a CIDR"),
            allocations: BTreeMap::new(),
        }
    }

    #[test]
    fn the_name_of_a_pool_has_network_name_and_node() {
        let slices = [Slices {
            name: "blue".to_owned(),
            range: "10.30.0.0/16".parse().expect("a CIDR"),
            of_nodes: vec![("n-1".to_owned(), "10.30.1.0/24".parse().expect("a CIDR"))],
        }];
        for (name, range, network_name, node) in [
            ("10.20.0.0-24", "10.20.0.0/24", "", ""),
            ("blue-10.20.0.0-24", "10.20.0.0/24", "blue", ""),
            ("n-1-10.30.1.0-24", "10.30.1.0/24", "", "n-1"),
            ("blue-n-1-10.30.1.0-24", "10.30.1.0/24", "blue", "n-1"),
            ("red-n-1-10.30.1.0-24", "10.30.1.0/24", "red-n-1", ""),
            ("fd00-20---64", "fd00:20::/64", "", ""),
            ("fd00-20--0-64", "fd00:20::/64", "", ""),
            ("blue-fd00-20---64", "fd00:20::/64", "blue", ""),
            ("something-else", "10.20.0.0/24", "", ""),
        ] {
            let pool = pool(name, range);
            let found = of_pool(&pool, &slices);
            assert_eq!(
                (found.network_name, found.node),
                (network_name, node),
                "{name}"
            );
            assert_eq!(found.slice_of.is_some(), !node.is_empty(), "{name}");
        }
    }

    #[test]
    fn the_name_of_a_reservation_is_read_in_every_way_that_gives_an_address() {
        for (name, first, ways) in [
            ("10.63.0.6", ("", "10.63.0.6"), 1),
            ("net-a-10.63.0.6", ("net-a", "10.63.0.6"), 1),
            ("fd00-20--7", ("", "fd00:20::7"), 1),
            ("fd00-20--0", ("", "fd00:20::"), 1),
            ("net-fd00-20--7", ("net", "fd00:20::7"), 1),
            // Either address fd00:… of the network a, or a:fd00:….
            ("a-fd00-20--7", ("", "a:fd00:20::7"), 2),
        ] {
            let found = of_reservation(name);
            let wanted = (first.0, first.1.parse().expect("an address"));
            assert_eq!(found.first(), Some(&wanted), "{name}: {found:?}");
            assert!(found.len() >= ways, "{name}: {found:?}");
        }
        assert!(of_reservation("blue").is_empty());
    }

    proptest! {
        #[test]
        fn no_name_makes_the_reader_panic(name in "\\PC{0,40}", range in "[0-9a-f:./]{0,20}") {
            let _ = of_reservation(&name);
            let _ = of_pool(&IpPool { name, written: range, ..pool("a", "10.0.0.0/8") }, &[]);
        }
    }
}
