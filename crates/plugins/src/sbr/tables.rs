//! A table for each address of an interface: a rule that leads there, and the routes of the interface.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::result::IpConfig;
use ipnetwork::IpNetwork;
use netlink::{Beside, LinkRoute, Netlink, NetlinkError, NewRoute};

use crate::failure::Failure;
use crate::{notation, sandbox};

/// The first table that is chosen.
const FIRST_TABLE: u32 = 100;
/// RT_TABLE_MAIN, linux/rtnetlink.h.
const MAIN_TABLE: u32 = 254;
/// RT_SCOPE_LINK, linux/rtnetlink.h.
const LINK_SCOPE: u8 = 253;

/// The gateways that are configured, one of each family.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gateways {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
}

impl Gateways {
    pub(super) fn read(texts: &[String]) -> Result<Gateways, Failure> {
        let mut read = Gateways::default();
        for text in texts {
            let address = notation::address(text).ok_or_else(|| {
                Failure::field(
                    "gateways",
                    format!("{text:?} is not an address such as 10.1.2.1"),
                )
            })?;
            let of_family = match address {
                IpAddr::V4(_) => &mut read.v4,
                IpAddr::V6(_) => &mut read.v6,
            };
            if let Some(other) = of_family.replace(address) {
                let problem = format!("has {other} and {address} of one family; name one of each");
                return Err(Failure::field("gateways", problem));
            }
        }
        Ok(read)
    }

    /// The gateway of an address.
    fn of(&self, ip: &IpConfig) -> Option<IpAddr> {
        let configured = match ip.address {
            IpNetwork::V4(_) => self.v4,
            IpNetwork::V6(_) => self.v6,
        };
        configured.or(ip.gateway)
    }
}

/// What was made, to be undone from the end.
enum Step<'r> {
    Rule(IpAddr, u32),
    Default(NewRoute),
    Copy(&'r LinkRoute, u32),
    Removed(&'r LinkRoute),
}

fn undo(netlink: &mut Netlink, steps: &[Step<'_>]) {
    // What a gateway is reached over is put back first.
    let is_behind = |step: &&Step<'_>| matches!(step, Step::Removed(one) if one.gateway.is_some());
    let (behind, others): (Vec<_>, Vec<_>) = steps.iter().rev().partition(is_behind);
    let (removed, made): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|step| matches!(step, Step::Removed(_)));
    for step in removed.into_iter().chain(behind).chain(made) {
        let undone = match step {
            Step::Rule(source, table) => netlink.remove_rule_from(*source, *table),
            Step::Default(route) => netlink.remove_added_route(route),
            Step::Copy(route, table) => netlink.remove_link_route(route, *table),
            Step::Removed(route) => netlink.copy_route(route, MAIN_TABLE, Beside::Others),
        };
        if let Err(error) = undone {
            tracing::debug!(%error, "a step of an ADD that failed is not undone");
        }
    }
}

/// Rules to a table that somebody else fills.
pub(super) fn add_rules(
    netlink: &mut Netlink,
    ips: &[&IpConfig],
    table: u32,
) -> Result<(), Failure> {
    let mut steps = Vec::new();
    for ip in ips {
        let source = ip.address.ip();
        if let Err(error) = netlink.add_rule(source, table) {
            undo(netlink, &steps);
            return Err(error.into());
        }
        steps.push(Step::Rule(source, table));
    }
    Ok(())
}

/// Rules to tables of their own, into which the interface's routes are moved.
pub(super) fn add_tables(
    netlink: &mut Netlink,
    ips: &[&IpConfig],
    ifname: &str,
    gateways: &Gateways,
    hints: bool,
) -> Result<(), Failure> {
    let rules = netlink.rules()?;
    let mut taken: BTreeSet<_> = rules.iter().map(|rule| rule.table).collect();
    taken.insert(MAIN_TABLE);
    let remedy = "put sbr behind the plugin that makes it";
    let link = sandbox::link(netlink, ifname, remedy)?.index;
    let routes = netlink.link_routes(link)?;
    let mut steps = Vec::new();
    let mut fill = || {
        let mut table = free_table(&taken, FIRST_TABLE);
        for ip in ips {
            fill_table(
                netlink,
                ip,
                link,
                gateways.of(ip),
                &routes,
                table,
                &mut steps,
            )?;
            table = free_table(&taken, table + 1);
        }
        match hints {
            true => hint(netlink, ips, link, &routes),
            false => {
                for route in &routes {
                    netlink.remove_link_route(route, MAIN_TABLE)?;
                    steps.push(Step::Removed(route));
                }
            }
        }
        Ok::<(), NetlinkError>(())
    };
    let filled = fill();
    if filled.is_err() {
        undo(netlink, &steps);
    }
    Ok(filled?)
}

/// The first table from `first` on to which no rule leads.
fn free_table(taken: &BTreeSet<u32>, first: u32) -> u32 {
    let mut tables = first..;
    tables.find(|table| !taken.contains(table)).unwrap_or(first)
}

fn fill_table<'r>(
    netlink: &mut Netlink,
    ip: &IpConfig,
    link: u32,
    gateway: Option<IpAddr>,
    routes: &'r [LinkRoute],
    table: u32,
    steps: &mut Vec<Step<'r>>,
) -> Result<(), NetlinkError> {
    let source = ip.address.ip();
    netlink.add_rule(source, table)?;
    steps.push(Step::Rule(source, table));
    if let Some(gateway) = gateway {
        let default = NewRoute {
            table: Some(table),
            ..NewRoute::over(link, everything(source), Some(gateway))
        };
        netlink.add_route(&default)?;
        steps.push(Step::Default(default));
    }
    for route in routes.iter().filter(|route| belongs_to(route, ip)) {
        netlink.copy_route(route, table, Beside::Replaced)?;
        steps.push(Step::Copy(route, table));
    }
    Ok(())
}

/// Whether a route is one of an address's subnet, or one of none.
fn belongs_to(route: &LinkRoute, ip: &IpConfig) -> bool {
    let has = |address: Option<IpAddr>| address.is_some_and(|one| ip.address.contains(one));
    has(route.source) || has(route.gateway) || route.source.is_none() && route.gateway.is_none()
}

/// All addresses of the family of `address`.
fn everything(address: IpAddr) -> IpNetwork {
    let unspecified: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A prefix of 0 is one of either family.
    IpNetwork::new(unspecified, 0).unwrap_or_else(|_| unspecified.into())
}

/// Subnets stay in the main table, with the address as the source; other routes leave it. What fails is logged alone, as the
/// reference does.
fn hint(netlink: &mut Netlink, ips: &[&IpConfig], link: u32, routes: &[LinkRoute]) {
    let log = |done: Result<(), NetlinkError>| {
        if let Err(error) = done {
            tracing::warn!(%error, "a route of the main table stays as it was");
        }
    };
    for ip in ips {
        let subnet = NewRoute {
            source: Some(ip.address.ip()),
            scope: Some(LINK_SCOPE),
            beside: Beside::Replaced,
            ..NewRoute::over(link, ip.address, None)
        };
        log(netlink.add_route(&subnet));
    }
    for route in routes.iter().filter(|route| !route.is_of_link) {
        log(netlink.remove_link_route(route, MAIN_TABLE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Option<Gateways> {
        let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
        Gateways::read(&texts).ok()
    }

    #[test]
    fn a_family_has_one_gateway() {
        let v4 = "10.0.0.1".parse().ok();
        let v6 = "fd00::1".parse().ok();
        assert_eq!(read(&[]), Some(Gateways::default()));
        assert_eq!(read(&["fd00::1", "10.0.0.1"]), Some(Gateways { v4, v6 }));
        for wrong in [
            &["x"][..],
            &["10.0.0.1", "10.0.0.2"],
            &["fd00::1", "fd00::2"],
            &["10.0.0.0/8"],
            &[""],
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_configured_gateway_wins_over_that_of_the_address() {
        let mut ip = IpConfig::of("10.0.0.5/24".parse().unwrap());
        ip.gateway = "10.0.0.1".parse().ok();
        assert_eq!(read(&[]).unwrap().of(&ip), ip.gateway);
        let other = read(&["10.0.0.9", "fd00::9"]).unwrap();
        assert_eq!(other.of(&ip), "10.0.0.9".parse().ok());
    }

    #[test]
    fn the_first_table_without_a_rule_is_free() {
        let taken = BTreeSet::from([100, 101, 103]);
        assert_eq!(free_table(&taken, FIRST_TABLE), 102);
        assert_eq!(free_table(&taken, 103), 104);
    }
}
