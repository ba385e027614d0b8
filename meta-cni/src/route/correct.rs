//! What results say of default routes once these were set: the truth.

use std::net::IpAddr;

use cni::result::{CniResult, Route};

use super::{DefaultRoute, Family};

/// Makes the default routes of the result of interface `ifname` those of `routes` that lead over it.
/// A route that the result has rightly stays as it is.
pub fn correct_result(result: &mut CniResult, ifname: &str, routes: &[DefaultRoute]) {
    let mut missing: Vec<&DefaultRoute> = routes
        .iter()
        .filter(|route| route.ifname == ifname)
        .collect();
    let gateways: Vec<IpAddr> = result.ips.iter().filter_map(|ip| ip.gateway).collect();
    result.routes.retain(|stated| {
        if stated.dst.prefix() != 0 {
            return true;
        }
        let is_stated = |route: &&DefaultRoute| {
            family_of(stated) == route.family
                && match stated.gw {
                    Some(gateway) => route.gateway == Some(gateway),
                    None => route
                        .gateway
                        .is_none_or(|gateway| gateways.contains(&gateway)),
                }
        };
        match missing.iter().position(is_stated) {
            Some(index) => {
                missing.swap_remove(index);
                true
            }
            None => false,
        }
    });
    result
        .routes
        .extend(missing.into_iter().filter_map(route_of));
}

fn family_of(route: &Route) -> Family {
    if route.dst.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    }
}

fn route_of(route: &DefaultRoute) -> Option<Route> {
    let dst = match route.family {
        Family::V4 => "0.0.0.0/0",
        Family::V6 => "::/0",
    };
    Some(Route::via(dst.parse().ok()?, route.gateway))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_via(gateway: &str, ifname: &str) -> DefaultRoute {
        let gateway: IpAddr = gateway.parse().unwrap();
        let family = if gateway.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        DefaultRoute {
            family,
            gateway: Some(gateway),
            ifname: ifname.to_owned(),
        }
    }

    fn result(routes: &[(&str, Option<&str>)]) -> CniResult {
        let route = |(dst, gw): &(&str, Option<&str>)| {
            let gw = gw.map(|gw| gw.parse().unwrap());
            let mut route = Route::via(dst.parse().unwrap(), gw);
            route.mtu = Some(1400);
            route
        };
        let mut result = CniResult::default();
        result.routes = routes.iter().map(route).collect();
        result
    }

    #[test]
    fn an_interface_that_lost_a_default_route_no_longer_has_it_in_its_result() {
        let mut stated = result(&[
            ("0.0.0.0/0", Some("10.0.0.1")),
            ("::/0", Some("fd00::1")),
            ("10.9.0.0/16", None),
        ]);
        correct_result(
            &mut stated,
            "eth0",
            &[
                default_via("fd00::1", "eth0"),
                default_via("10.1.0.1", "net1"),
            ],
        );
        assert_eq!(
            stated,
            result(&[("::/0", Some("fd00::1")), ("10.9.0.0/16", None)])
        );
    }

    #[test]
    fn an_interface_that_gained_a_default_route_has_it_in_its_result() {
        let mut stated = result(&[]);
        correct_result(&mut stated, "net1", &[default_via("10.1.0.1", "net1")]);
        assert_eq!(stated.routes[0].gw, Some("10.1.0.1".parse().unwrap()));
        assert_eq!(stated.routes.len(), 1);
    }
}
