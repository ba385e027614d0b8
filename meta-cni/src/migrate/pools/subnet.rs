//! One family of a pool: what any of its networks leases, and which addresses that is.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use proto::ipam::v1::{Route, Subnet};

use super::super::ipam::Setting;
use super::super::network::{Network, subject};
use super::super::obstacle::Obstacle;
use super::super::span::{Span, merged, number, with_number};

/// The first prefix lengths whose networks are leased as a whole (ipam.v1, Subnet.ranges).
const WHOLE: (u8, u8) = (31, 127);

/// A subnet, and what is different afterwards.
pub(super) struct Made {
    pub(super) subnet: Subnet,
    pub(super) notes: Vec<String>,
    pub(super) obstacles: Vec<Obstacle>,
}

/// The subnet of a range that leases what any of `networks` leases of it.
pub(super) fn make(cidr: IpNetwork, networks: &[&Network]) -> Made {
    let settings: Vec<(&Network, &Setting)> = networks
        .iter()
        .flat_map(|network| network.ipam.settings.iter().map(move |one| (*network, one)))
        .filter(|(_, setting)| setting.cidr == cidr)
        .collect();
    let mut made = Made {
        subnet: Subnet {
            cidr: cidr.to_string(),
            ..Subnet::default()
        },
        notes: Vec::new(),
        obstacles: Vec::new(),
    };
    let spans = merged(settings.iter().map(|(_, setting)| setting.span).collect());
    if settings.iter().any(|(_, one)| spans != [one.span]) {
        let names: Vec<_> = networks.iter().map(|one| one.name.to_string()).collect();
        made.notes.push(format!(
            "{cidr}: {} leased of different parts of it; they share all of them now",
            names.join(", ")
        ));
    }
    if spans != [Span::usable(cidr)] {
        made.subnet.ranges = spans.into_iter().map(Span::text).collect();
    }
    made.subnet.excludes = made.excludes(&settings);
    for (network, _) in &settings {
        made.gateway(cidr, network);
        made.routes(cidr, network);
    }
    made
}

impl Made {
    /// What no network leases.
    fn excludes(&mut self, settings: &[(&Network, &Setting)]) -> Vec<String> {
        let mut excludes = Vec::new();
        for (network, setting) in settings {
            for exclude in &setting.excludes {
                let leases = |(_, other): &&(&Network, &Setting)| {
                    let is_excluded =
                        |span: &Span| span.first <= exclude.first && exclude.last <= span.last;
                    other.span.intersection(*exclude).is_some()
                        && !other.excludes.iter().any(is_excluded)
                };
                match settings.iter().find(leases) {
                    None => excludes.push(*exclude),
                    Some((other, _)) => self.obstacles.push(Obstacle::new(
                        subject(&network.name),
                        format!(
                            "it excludes {}, which {} leases: their pool leases it",
                            exclude.text(),
                            other.name
                        ),
                        "exclude it in both, or give one network another range",
                    )),
                }
            }
        }
        merged(excludes).into_iter().map(Span::text).collect()
    }

    fn gateway(&mut self, cidr: IpNetwork, network: &Network) {
        let Some(gateway) = network.ipam.gateway else {
            return;
        };
        if gateway.is_ipv4() != cidr.is_ipv4() {
            return;
        }
        let text = gateway.to_string();
        let mut refuse = |reason: String| {
            let remedy = "set the gateway in the pool, or a default-route in the pods' annotation";
            let what = subject(&network.name);
            self.obstacles.push(Obstacle::new(what, reason, remedy));
        };
        if !cidr.contains(gateway) {
            refuse(format!(
                "its gateway {text} is outside of {cidr}: the pool has none"
            ));
        } else if self.subnet.gateway.is_empty() {
            self.subnet.gateway = text;
        } else if self.subnet.gateway != text {
            let other = &self.subnet.gateway;
            refuse(format!(
                "its gateway is {text}, and that of its pool {other}"
            ));
        }
    }

    fn routes(&mut self, cidr: IpNetwork, network: &Network) {
        let is_of_family = |route: &&Route| {
            let dst: Option<IpNetwork> = route.dst.parse().ok();
            dst.is_some_and(|dst| dst.is_ipv4() == cidr.is_ipv4())
        };
        for route in network.ipam.routes.iter().filter(is_of_family) {
            if self
                .subnet
                .routes
                .iter()
                .all(|known| known.dst != route.dst)
            {
                self.subnet.routes.push(route.clone());
            }
        }
    }
}

/// The addresses that a subnet leases.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::migrate) struct Leasable {
    pub(in crate::migrate) cidr: IpNetwork,
    spans: Vec<Span>,
    excludes: Vec<Span>,
    gateway: Option<IpAddr>,
}

impl Leasable {
    /// Those of a subnet; none if it cannot be read.
    pub(in crate::migrate) fn of(subnet: &Subnet) -> Option<Leasable> {
        let cidr: IpNetwork = subnet.cidr.parse().ok()?;
        let read = |texts: &[String]| -> Option<Vec<Span>> {
            texts.iter().map(|text| span(text)).collect()
        };
        let spans = match subnet.ranges.is_empty() {
            true => vec![usual(cidr)],
            false => read(&subnet.ranges)?,
        };
        Some(Leasable {
            cidr,
            spans,
            excludes: read(&subnet.excludes)?,
            gateway: subnet.gateway.parse().ok(),
        })
    }

    /// Why an address is never leased.
    pub(in crate::migrate) fn refuses(&self, address: IpAddr) -> Option<&'static str> {
        let is_in = |spans: &[Span]| spans.iter().any(|span| span.contains(address));
        if self.gateway == Some(address) {
            return Some("is the gateway");
        }
        if is_in(&self.excludes) {
            return Some("is excluded");
        }
        (!is_in(&self.spans)).then_some("is outside of the ranges")
    }
}

/// What a subnet without ranges leases.
fn usual(cidr: IpNetwork) -> Span {
    let whole = Span::of(cidr);
    match cidr {
        IpNetwork::V4(cidr) if cidr.prefix() < WHOLE.0 => Span::usable(cidr.into()),
        IpNetwork::V6(cidr) if cidr.prefix() < WHOLE.1 => Span {
            first: with_number(whole.first, number(whole.first) + 1),
            last: whole.last,
        },
        _ => whole,
    }
}

/// FIRST-LAST, a CIDR, or one address.
fn span(text: &str) -> Option<Span> {
    match text.split_once('-') {
        Some((first, last)) => Some(Span {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
        }),
        None if text.contains('/') => text.parse().ok().map(Span::of),
        None => text.parse().ok().map(Span::one),
    }
}
