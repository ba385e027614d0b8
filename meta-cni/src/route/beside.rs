//! Routers that are on a link although no prefix of the link has them.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// Whether the gateway, which is in none of the prefixes of its link, is on the link all the same: it is
/// link-local; or the link's own addresses are those of a host only (/32, /128); or the link has no
/// address (unnumbered) and others of the sandbox have one to send from.
pub(super) fn is_on_link(gateway: IpAddr, own: &[IpNetwork], others: &[IpNetwork]) -> bool {
    let counts = |address: &&IpNetwork| !is_link_local(address.ip()) && !address.ip().is_loopback();
    let mut own = own.iter().filter(counts).peekable();
    match own.peek() {
        _ if is_link_local(gateway) => true,
        Some(_) => own.all(is_of_a_host),
        None => others.iter().any(|address| counts(&address)),
    }
}

fn is_of_a_host(address: &IpNetwork) -> bool {
    match address {
        IpNetwork::V4(address) => address.prefix() == 32,
        IpNetwork::V6(address) => address.prefix() == 128,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_beside_the_prefixes_is_taken_where_no_prefix_could_have_it() {
        for (case, gateway, own, others, expected) in [
            ("link-local", "169.254.1.1", "10.1.0.2/24", "", true),
            ("link-local", "fe80::1", "fd01::2/64", "", true),
            ("link-local without an address", "169.254.1.1", "", "", true),
            ("a host address", "10.9.0.1", "10.1.0.2/32", "", true),
            (
                "a host address",
                "fd09::1",
                "fd01::2/128 fe80::5/64",
                "",
                true,
            ),
            (
                "a host address beside a prefix",
                "10.9.0.1",
                "10.1.0.2/32 10.2.0.2/24",
                "",
                false,
            ),
            (
                "unnumbered",
                "10.9.0.1",
                "",
                "127.0.0.1/8 10.0.0.2/24",
                true,
            ),
            ("unnumbered", "fd09::1", "fe80::5/64", "fd00::2/128", true),
            ("nothing to send from", "10.9.0.1", "", "127.0.0.1/8", false),
            (
                "nothing to send from",
                "fd09::1",
                "fe80::5/64",
                "::1/128 fe80::6/64",
                false,
            ),
            (
                "another prefix",
                "10.9.0.1",
                "10.1.0.2/24",
                "10.9.0.2/24",
                false,
            ),
            ("another prefix", "fd09::1", "fd01::2/64", "", false),
        ] {
            let addresses = |text: &str| -> Vec<IpNetwork> {
                let words = text.split_whitespace();
                words.map(|word| word.parse().unwrap()).collect()
            };
            let (own, others) = (addresses(own), addresses(others));
            let found = is_on_link(gateway.parse().unwrap(), &own, &others);
            assert_eq!(found, expected, "{case}: {gateway}, {own:?}");
        }
    }
}
