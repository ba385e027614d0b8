//! Networks that no pod can use, and gateways that are none. Only what is made or changed is checked: a pool that a store
//! has already is loaded as it is.

use ipnetwork::IpNetwork;

use super::{Pool, Subnet};
use crate::family::Family;
use crate::problem::FieldProblem;

/// Blocks of the IANA special-purpose address registries (RFC 6890) that an interface of a pod cannot have.
const UNUSABLE: [(&str, &str); 6] = [
    ("0.0.0.0/8", "\"this network\" (RFC 791, 3.2)"),
    ("127.0.0.0/8", "loopback (RFC 1122, 3.2.1.3)"),
    ("224.0.0.0/4", "multicast (RFC 5771)"),
    ("240.0.0.0/4", "reserved (RFC 1112, 4)"),
    ("::/8", "reserved, loopback among it (RFC 4291, 2.4)"),
    ("ff00::/8", "multicast (RFC 4291, 2.7)"),
];

impl Pool {
    /// Networks that no pod can use, and a gateway that is the network or broadcast address, each with its field:
    /// `pool.ipv4.cidr`, `pool.ipv4.gateway`, and those of IPv6.
    pub fn unusable(&self) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        let mut add = |field: String, problem| problems.push(FieldProblem { field, problem });
        for (family, at) in [(Family::V4, "pool.ipv4"), (Family::V6, "pool.ipv6")] {
            let Some(subnet) = self.subnet(family) else {
                continue;
            };
            if let Some((block, what)) = unusable_block(subnet) {
                let cidr = subnet.cidr();
                let problem =
                    format!("{cidr} has addresses of {block}, {what}; use another network");
                add(format!("{at}.cidr"), problem);
            }
            let is_end = |gateway: &u128| family == Family::V4 && subnet.is_end(*gateway);
            if let Some(gateway) = subnet.gateway.filter(is_end) {
                let gateway = subnet.address(gateway);
                let problem =
                    format!("{gateway} is the network or broadcast address; name a router");
                add(format!("{at}.gateway"), problem);
            }
        }
        problems
    }
}

/// The block of [`UNUSABLE`] of which a subnet has addresses.
fn unusable_block(subnet: &Subnet) -> Option<&'static (&'static str, &'static str)> {
    UNUSABLE.iter().find(|(block, _)| {
        let block: Option<IpNetwork> = block.parse().ok();
        block.is_some_and(|block| subnet.overlaps(&Subnet::of(block)))
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    /// The fields with a problem.
    fn refused(ipv4: &str, ipv6: &str, gateway: &str) -> Vec<String> {
        let gateway: Option<IpAddr> = gateway.parse().ok();
        let subnet = |cidr: &str| {
            let subnet = Subnet::of(cidr.parse().ok()?);
            let own = gateway.filter(|&gateway| Family::of(gateway) == subnet.family);
            Some(Subnet {
                gateway: own.map(crate::family::number),
                ..subnet
            })
        };
        let pool = Pool {
            ipv4: subnet(ipv4),
            ipv6: subnet(ipv6),
            ..Pool::default()
        };
        pool.unusable().into_iter().map(|at| at.field).collect()
    }

    #[test]
    fn networks_of_no_use_are_refused_by_their_field() {
        for cidr in [
            "0.1.0.0/16",
            "127.0.0.0/8",
            "127.1.2.0/24",
            "126.0.0.0/7",
            "224.0.0.0/24",
            "239.1.0.0/16",
            "240.0.0.0/4",
            "255.255.255.0/24",
        ] {
            assert_eq!(refused(cidr, "", ""), ["pool.ipv4.cidr"], "{cidr}");
        }
        for cidr in ["::/64", "ff02::/64", "ff00::/8", "::1/128"] {
            assert_eq!(refused("", cidr, ""), ["pool.ipv6.cidr"], "{cidr}");
        }
        let both = refused("224.0.0.0/24", "ff02::/64", "");
        assert_eq!(both, ["pool.ipv4.cidr", "pool.ipv6.cidr"]);
        for (ipv4, ipv6) in [
            ("10.0.0.0/8", "fd00::/8"),
            ("100.64.0.0/10", "2001:db8::/32"),
            ("169.254.0.0/16", "fe80::/64"),
            ("1.0.0.0/8", "100::/8"),
            ("223.255.255.0/24", "fe00::/8"),
        ] {
            assert_eq!(refused(ipv4, ipv6, ""), [""; 0], "{ipv4} {ipv6}");
        }
    }

    #[test]
    fn a_gateway_is_no_network_or_broadcast_address() {
        for gateway in ["10.0.0.0", "10.0.0.255"] {
            let fields = refused("10.0.0.0/24", "", gateway);
            assert_eq!(fields, ["pool.ipv4.gateway"], "{gateway}");
        }
        for (ipv4, ipv6, gateway) in [
            ("10.0.0.0/24", "", "10.0.0.254"),
            ("10.0.0.0/31", "", "10.0.0.0"),
            ("", "fd00::/64", "fd00::"),
        ] {
            assert_eq!(refused(ipv4, ipv6, gateway), [""; 0], "{gateway}");
        }
    }
}
