//! Networks that no pod can use, and gateways that are none. Only what is made or changed is checked: a pool that a store
//! has already is loaded as it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{Ipv4Network, Ipv6Network};

use super::{Pool, Problems, number};
use crate::error::{Error, Family};

/// Blocks of the IANA special-purpose address registries (RFC 6890) that an interface of a pod cannot have.
const SENSELESS: [(&str, &str); 6] = [
    ("0.0.0.0/8", "\"this network\" (RFC 791, 3.2)"),
    ("127.0.0.0/8", "loopback (RFC 1122, 3.2.1.3)"),
    ("224.0.0.0/4", "multicast (RFC 5771)"),
    ("240.0.0.0/4", "reserved (RFC 1112, 4)"),
    ("::/8", "reserved, loopback among it (RFC 4291, 2.4)"),
    ("ff00::/8", "multicast (RFC 4291, 2.7)"),
];

impl Pool {
    /// Refuses labels with characters that steer a terminal.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] names `pool.labels`.
    pub fn check_plain(&self) -> Result<(), Error> {
        let mut problems = Problems::default();
        problems.plain_labels("pool.labels", &self.message.labels);
        problems.into_result()
    }

    /// Refuses networks that no pod can use, and a gateway that is the network or broadcast address.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] names `pool.ipv4.cidr`, `pool.ipv4.gateway`, and those of IPv6.
    pub fn check_sensible(&self) -> Result<(), Error> {
        let mut problems = Problems::default();
        for (family, at) in [(Family::V4, "pool.ipv4"), (Family::V6, "pool.ipv6")] {
            let Some(subnet) = self.subnet(family) else {
                continue;
            };
            let overlaps = |(block, _): &&(&str, &str)| {
                let Some((first, last)) = ends_of(block, family) else {
                    return false;
                };
                *subnet.all.start() <= last && first <= *subnet.all.end()
            };
            if let Some((block, what)) = SENSELESS.iter().find(overlaps) {
                let cidr = subnet.cidr();
                let problem =
                    format!("{cidr} has addresses of {block}, {what}; use another network");
                problems.add(format!("{at}.cidr"), problem);
            }
            let is_end =
                |gateway: &u128| subnet.kept_back_at_ends(*gateway) && family == Family::V4;
            if let Some(gateway) = subnet.gateway.filter(is_end) {
                let gateway = subnet.address(gateway);
                let problem =
                    format!("{gateway} is the network or broadcast address; name a router");
                problems.add(format!("{at}.gateway"), problem);
            }
        }
        problems.into_result()
    }
}

/// The first and the last address of a block, if it is of this family.
fn ends_of(block: &str, family: Family) -> Option<(u128, u128)> {
    let of = |first: IpAddr, last: IpAddr| (number(first), number(last));
    match family {
        Family::V4 => {
            let block: Ipv4Network = block.parse().ok()?;
            let (first, last): (Ipv4Addr, Ipv4Addr) = (block.network(), block.broadcast());
            Some(of(first.into(), last.into()))
        }
        Family::V6 => {
            let block: Ipv6Network = block.parse().ok()?;
            let (first, last): (Ipv6Addr, Ipv6Addr) = (block.network(), block.broadcast());
            Some(of(first.into(), last.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::ipam::v1 as ipam;

    use super::*;

    /// The fields that are refused.
    fn refused(ipv4: &str, ipv6: &str, gateway: &str) -> Vec<String> {
        let subnet = |cidr: &str, gateway: &str| {
            (!cidr.is_empty()).then(|| ipam::Subnet {
                cidr: cidr.into(),
                gateway: gateway.into(),
                ..Default::default()
            })
        };
        let four = gateway.contains('.');
        let pool = Pool::decode(ipam::Pool {
            name: "p".into(),
            ipv4: subnet(ipv4, if four { gateway } else { "" }),
            ipv6: subnet(ipv6, if four { "" } else { gateway }),
            ..Default::default()
        });
        match pool.unwrap().check_sensible() {
            Ok(()) => Vec::new(),
            Err(Error::InvalidFields(fields)) => fields.into_iter().map(|at| at.field).collect(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn senseless_networks_are_refused_by_their_field() {
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
