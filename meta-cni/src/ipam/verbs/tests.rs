//! What meta-ipam answers and asks for, without a server.

use super::*;

#[test]
fn a_route_names_its_own_gateway_else_that_of_its_family_and_is_on_the_link_without_one() {
    let route = |dst: &str, gw: &str| ipam::Route {
        dst: dst.to_owned(),
        gw: gw.to_owned(),
        mtu: 0,
    };
    for (ipv4_gateway, ipv6_gateway, dst, gw, expected) in [
        ("10.0.0.1", "fd00::1", "0.0.0.0/0", "", Some("10.0.0.1")),
        ("10.0.0.1", "fd00::1", "::/0", "", Some("fd00::1")),
        ("10.0.0.1", "", "10.9.0.0/16", "10.0.0.7", Some("10.0.0.7")),
        ("10.0.0.1", "", "10.9.0.0/16", "0.0.0.0", Some("0.0.0.0")),
        ("10.0.0.1", "", "::/0", "", None),
        ("", "fd00::1", "10.9.0.0/16", "", None),
        ("169.254.1.1", "", "169.254.1.1/32", "", None),
        ("", "fe80::1", "fe80::1/128", "", None),
    ] {
        let answer = AllocateResponse {
            lease: Some(ipam::Lease::default()),
            ipv4_gateway: ipv4_gateway.to_owned(),
            ipv6_gateway: ipv6_gateway.to_owned(),
            routes: vec![route(dst, gw)],
            ..AllocateResponse::default()
        };
        let found = result(&answer).unwrap().routes[0].gw;
        assert_eq!(found, expected.map(|gw| gw.parse().unwrap()), "{dst} {gw}");
    }
}
