//! Addresses as texts, as plugins in Go read them (package net, "ParseIP" and "ParseCIDR").

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// Where IPv4 is mapped into IPv6 (::ffff:0:0/96, RFC 4291 §2.5.5.2).
const MAPPED_PREFIX: u8 = 96;

/// An address; IPv4 if it is IPv4 mapped into IPv6.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// An address with the length of its prefix, host bits kept; IPv4 if it is IPv4 mapped into IPv6.
pub(crate) fn network(text: &str) -> Option<IpNetwork> {
    let (ip, prefix) = text.split_once('/')?;
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ip: IpAddr = ip.parse().ok()?;
    let prefix = prefix.parse().ok()?;
    let read = IpNetwork::new(ip, prefix).ok()?;
    match ip.to_canonical() {
        IpAddr::V4(v4) if ip.is_ipv6() && prefix >= MAPPED_PREFIX => {
            IpNetwork::new(v4.into(), prefix - MAPPED_PREFIX).ok()
        }
        _ => Some(read),
    }
}

/// An address with or without the length of a prefix, which is left out.
pub(crate) fn address_of_any(text: &str) -> Option<IpAddr> {
    match text.contains('/') {
        true => network(text).map(|network| network.ip()),
        false => address(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_go_reads_them() {
        let cases = [
            ("10.1.2.3/24", Some("10.1.2.3/24")),
            ("10.1.2.3/024", Some("10.1.2.3/24")),
            ("::ffff:10.1.2.3/120", Some("10.1.2.3/24")),
            ("fd00::1/64", Some("fd00::1/64")),
            ("10.1.2.3", None),
            ("10.1.2.3/33", None),
            ("10.1.2.03/24", None),
            ("10.1.2.3/+24", None),
            ("10.1.2.3/255.255.255.0", None),
            ("fe80::1%eth0/64", None),
            ("/24", None),
        ];
        for (text, expected) in cases {
            let read = network(text).map(|network| network.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_eq!(address_of_any("10.0.0.1/8"), address("10.0.0.1"));
        assert_eq!(address_of_any("10.0.0.1"), address("10.0.0.1"));
        assert_eq!(address_of_any(""), None);
    }
}
