//! Whether addresses lie in prefixes.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// Whether `text`, an address or a CIDR, lies whole in one of `prefixes`. What is no address lies nowhere.
pub(super) fn lies_in(text: &str, prefixes: &[String]) -> bool {
    let address = text.parse::<IpAddr>().map(IpNetwork::from);
    let Ok(network) = text.parse::<IpNetwork>().or(address) else {
        return false;
    };
    prefixes
        .iter()
        .filter_map(|prefix| prefix.parse::<IpNetwork>().ok())
        .any(|prefix| prefix.contains_whole(&network))
}

trait ContainsWhole {
    fn contains_whole(&self, other: &IpNetwork) -> bool;
}

impl ContainsWhole for IpNetwork {
    fn contains_whole(&self, other: &IpNetwork) -> bool {
        // The length is that of the link, wider than the prefix for an address of a larger subnet: refused.
        self.contains(other.ip()) && other.prefix() >= self.prefix()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lies_in_a_prefix_with_its_whole_network() {
        let prefixes = ["10.1.0.0/16", "fd00::/48"].map(str::to_owned);
        for (text, expected) in [
            ("10.1.2.3", true),
            ("10.1.2.3/24", true),
            ("10.1.2.3/16", true),
            ("10.1.2.3/8", false),
            ("10.2.0.1/24", false),
            ("fd00::1/64", true),
            ("fd00:1::1/64", false),
            ("::ffff:10.1.2.3", false),
            ("10.1.2", false),
            ("", false),
        ] {
            assert_eq!(lies_in(text, &prefixes), expected, "{text}");
        }
    }
}
