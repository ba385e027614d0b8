//! The names of whereabouts' objects: a name has what its object does not say (`IPPoolName`, `NormalizeIP` in its
//! pkg/storage/kubernetes/ipam.go).

use std::net::IpAddr;

use super::{IpPool, Slices};

/// What the name of an IPPool says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::migrate) struct PoolName {
    /// `network_name` of the networks that lease from it; empty: they have none.
    pub(in crate::migrate) network_name: String,
    /// The node whose slice it is.
    pub(in crate::migrate) node: Option<String>,
}

/// Reads `[NETWORK_NAME-][NODE-]RANGE`.
pub(in crate::migrate) fn of_pool(pool: &IpPool, slices: &[Slices]) -> PoolName {
    let before = before_range(pool);
    let of_node = slices.iter().find_map(|all| {
        let mut nodes = all.of_nodes.iter();
        nodes.find_map(|(node, slice)| {
            let network_name = before.strip_suffix(node.as_str())?;
            let network_name = match network_name.strip_suffix('-') {
                Some(name) if name == all.name => name,
                None if network_name.is_empty() => "",
                _ => return None,
            };
            (*slice == pool.range).then(|| PoolName {
                network_name: network_name.to_owned(),
                node: Some(node.clone()),
            })
        })
    });
    of_node.unwrap_or_else(|| PoolName {
        network_name: before.to_owned(),
        node: None,
    })
}

/// What stands before the range.
fn before_range(pool: &IpPool) -> &str {
    let range = pool.written.replace([':', '/'], "-");
    // A name may not end in a dash, so some versions write a 0 behind closing colons.
    let closed = pool.written.replace("::/", "::0/").replace([':', '/'], "-");
    let rest = [range, closed]
        .iter()
        .find_map(|range| pool.name.strip_suffix(range.as_str()))
        .unwrap_or_default();
    rest.strip_suffix('-').unwrap_or(rest)
}

/// All ways to read `[NETWORK_NAME-]ADDRESS`, where colons of the address are dashes; the longest address first.
pub(in crate::migrate) fn of_reservation(name: &str) -> Vec<(&str, IpAddr)> {
    let starts = std::iter::once(0).chain(name.match_indices('-').map(|(at, _)| at + 1));
    let read = |at: usize| {
        let (network_name, address) = name.split_at(at);
        let parsed = address.parse().ok();
        let address = parsed.or_else(|| address.replace('-', ":").parse().ok())?;
        Some((
            network_name.strip_suffix('-').unwrap_or(network_name),
            address,
        ))
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
            range: range.parse().unwrap(),
            allocations: BTreeMap::new(),
        }
    }

    #[test]
    fn a_pool_is_named_after_network_name_node_and_range() {
        let slices = [Slices {
            name: "blue".to_owned(),
            of_nodes: vec![("n-1".to_owned(), "10.30.1.0/24".parse().unwrap())],
        }];
        for (name, range, network_name, node) in [
            ("10.20.0.0-24", "10.20.0.0/24", "", None),
            ("blue-10.20.0.0-24", "10.20.0.0/24", "blue", None),
            ("n-1-10.30.1.0-24", "10.30.1.0/24", "", Some("n-1")),
            ("blue-n-1-10.30.1.0-24", "10.30.1.0/24", "blue", Some("n-1")),
            ("red-n-1-10.30.1.0-24", "10.30.1.0/24", "red-n-1", None),
            ("fd00-20---64", "fd00:20::/64", "", None),
            ("blue-fd00-20--0-64", "fd00:20::/64", "blue", None),
            ("something-else", "10.20.0.0/24", "", None),
        ] {
            let expected = PoolName {
                network_name: network_name.to_owned(),
                node: node.map(str::to_owned),
            };
            assert_eq!(of_pool(&pool(name, range), &slices), expected, "{name}");
        }
    }

    #[test]
    fn a_reservation_is_named_after_network_name_and_address() {
        for (name, network_name, address) in [
            ("10.63.0.6", "", "10.63.0.6"),
            ("net-a-10.63.0.6", "net-a", "10.63.0.6"),
            ("fd00-20--7", "", "fd00:20::7"),
            ("fd00-20--0", "", "fd00:20::"),
            ("net-fd00-20--7", "net", "fd00:20::7"),
        ] {
            let found = of_reservation(name);
            assert!(
                found.contains(&(network_name, address.parse().unwrap())),
                "{name}: {found:?}"
            );
        }
        assert_eq!(of_reservation("blue"), []);
    }

    proptest! {
        #[test]
        fn no_name_makes_the_reader_panic(name in "\\PC{0,40}", range in "[0-9a-f:./]{0,20}") {
            let _ = of_reservation(&name);
            let _ = of_pool(&IpPool { name, written: range, ..pool("a", "10.0.0.0/8") }, &[]);
        }
    }
}
