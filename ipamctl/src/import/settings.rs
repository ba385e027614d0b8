//! What networks lease of a range, and the subnet of a pool that leases the same.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use proto::ipam::v1::{Route, Subnet};

/// First and last address, both of one family.
pub(super) type Span = (IpAddr, IpAddr);

/// What one network leases of a range.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setting {
    /// The network that says so, as messages name it.
    pub(super) network: String,
    /// The range.
    pub(super) cidr: IpNetwork,
    /// What may be leased: all of `cidr`, or from a start to an end.
    pub(super) span: Span,
    /// What may not.
    pub(super) excludes: Vec<Span>,
    /// The router.
    pub(super) gateway: Option<IpAddr>,
    /// Routes of every pod, of this family.
    pub(super) routes: Vec<(IpNetwork, Option<IpAddr>)>,
}

impl Setting {
    /// All of a range.
    pub(super) fn all_of(cidr: IpNetwork) -> Setting {
        Setting {
            network: String::new(),
            cidr,
            span: (cidr.network(), cidr.broadcast()),
            excludes: Vec::new(),
            gateway: None,
            routes: Vec::new(),
        }
    }

    /// Whether it leases nothing of `span`.
    fn spares(&self, span: Span) -> bool {
        let outside = span.1 < self.span.0 || self.span.1 < span.0;
        let excluded = |(first, last): &Span| *first <= span.0 && span.1 <= *last;
        outside || self.excludes.iter().any(excluded)
    }
}

/// A subnet that leases what any of `settings` does, all of them of `cidr` or inside it; and a sentence for what it
/// cannot have of them.
pub(super) fn subnet(cidr: IpNetwork, settings: &[Setting]) -> (Subnet, Vec<String>) {
    let mut notes = Vec::new();
    let whole = (cidr.network(), cidr.broadcast());
    let spans = merged(settings.iter().map(|setting| setting.span).collect());
    let ranges = match spans.contains(&whole) {
        true => Vec::new(),
        false => spans.into_iter().map(text).collect(),
    };
    let mut excludes = BTreeSet::new();
    for (at, setting) in settings.iter().enumerate() {
        let others = || {
            settings
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != at)
        };
        for exclude in &setting.excludes {
            match others().find(|(_, other)| !other.spares(*exclude)) {
                None => drop(excludes.insert(*exclude)),
                Some((_, other)) if !other.network.is_empty() => notes.push(format!(
                    "{} excludes {} and {} does not: the pool leases it",
                    setting.network,
                    text(*exclude),
                    other.network
                )),
                Some(_) => {}
            }
        }
    }
    let mut subnet = Subnet {
        cidr: format!("{}/{}", cidr.network(), cidr.prefix()),
        ranges,
        excludes: excludes.into_iter().map(text).collect(),
        ..Subnet::default()
    };
    for setting in settings {
        gateway(cidr, setting, &mut subnet, &mut notes);
        for (dst, gw) in &setting.routes {
            let dst = dst.to_string();
            if subnet.routes.iter().all(|route| route.dst != dst) {
                subnet.routes.push(Route {
                    dst,
                    gw: gw.map(|gw| gw.to_string()).unwrap_or_default(),
                    mtu: 0,
                });
            }
        }
    }
    (subnet, notes)
}

fn gateway(cidr: IpNetwork, setting: &Setting, subnet: &mut Subnet, notes: &mut Vec<String>) {
    let Some(gateway) = setting.gateway else {
        return;
    };
    if !cidr.contains(gateway) {
        notes.push(format!(
            "the gateway {gateway} of {} is outside of {cidr}: the pool has none",
            setting.network
        ));
    } else if subnet.gateway.is_empty() {
        subnet.gateway = gateway.to_string();
    } else if subnet.gateway != gateway.to_string() {
        notes.push(format!(
            "{} has the gateway {gateway}: the pool has {}",
            setting.network, subnet.gateway
        ));
    }
}

/// Without overlaps, in order.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
            _ => merged.push(span),
        }
    }
    merged
}

/// As a pool names it.
fn text((first, last): Span) -> String {
    match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIDR: &str = "10.1.0.0/24";

    fn span(first: &str, last: &str) -> Span {
        let address = |text: &str| text.parse().expect("an address");
        (address(first), address(last))
    }

    fn setting(network: &str, first: &str, last: &str, excludes: &[(&str, &str)]) -> Setting {
        Setting {
            network: network.to_owned(),
            span: span(first, last),
            excludes: excludes.iter().map(|(a, b)| span(a, b)).collect(),
            ..Setting::all_of(CIDR.parse().expect("a CIDR"))
        }
    }

    fn made(settings: &[Setting]) -> (Subnet, Vec<String>) {
        subnet(CIDR.parse().expect("a CIDR"), settings)
    }

    #[test]
    fn a_pool_leases_what_any_of_its_networks_does() {
        let low = setting("a", "10.1.0.10", "10.1.0.50", &[("10.1.0.20", "10.1.0.29")]);
        let high = setting("b", "10.1.0.40", "10.1.0.99", &[("10.1.0.50", "10.1.0.50")]);
        let (one, notes) = made(std::slice::from_ref(&low));
        assert_eq!(one.ranges, ["10.1.0.10-10.1.0.50"]);
        assert_eq!(one.excludes, ["10.1.0.20-10.1.0.29"]);
        assert!(notes.is_empty(), "{notes:?}");
        let (both, notes) = made(&[low.clone(), high]);
        assert_eq!(both.ranges, ["10.1.0.10-10.1.0.99"]);
        // What a excludes is none of b's; what b excludes is leased by a.
        assert_eq!(both.excludes, ["10.1.0.20-10.1.0.29"]);
        assert_eq!(
            notes,
            ["b excludes 10.1.0.50 and a does not: the pool leases it"]
        );
        let (all, _) = made(&[low, Setting::all_of(CIDR.parse().expect("a CIDR"))]);
        assert!(all.ranges.is_empty() && all.excludes.is_empty(), "{all:?}");
    }

    #[test]
    fn gateway_and_routes_are_those_of_the_first_network_that_names_them() {
        let with = |network: &str, gateway: &str| Setting {
            network: network.to_owned(),
            gateway: gateway.parse().ok(),
            routes: vec![(
                "10.9.0.0/16".parse().expect("a CIDR"),
                "10.1.0.7".parse().ok(),
            )],
            ..Setting::all_of(CIDR.parse().expect("a CIDR"))
        };
        let (subnet, notes) = made(&[
            with("far", "10.2.0.1"),
            with("a", "10.1.0.1"),
            with("b", "10.1.0.2"),
        ]);
        assert_eq!(subnet.gateway, "10.1.0.1");
        assert_eq!(subnet.routes.len(), 1);
        assert_eq!(
            (subnet.routes[0].dst.as_str(), subnet.routes[0].gw.as_str()),
            ("10.9.0.0/16", "10.1.0.7")
        );
        assert_eq!(
            notes,
            [
                "the gateway 10.2.0.1 of far is outside of 10.1.0.0/24: the pool has none",
                "b has the gateway 10.1.0.2: the pool has 10.1.0.1"
            ]
        );
    }
}
