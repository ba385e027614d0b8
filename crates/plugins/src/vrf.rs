//! `vrf`: the interface of an attachment becomes a port of a routing domain of the pod, which is made with its first port and
//! goes with its last. As the reference plugin, section "meta/vrf".

use std::collections::BTreeSet;

use cni::result::CniResult;
use cni::version::Version;
use ipnetwork::IpNetwork;
use netlink::netns::Namespace;
use netlink::{Beside, Details, Family, Link, LinkChange, Netlink, NewKind, NewLink};
use serde::Deserialize;

use crate::failure::Failure;
use crate::plugin::{Plugin, Request};
use crate::sandbox;
use crate::shape::Shape;

const KEYS: &[(&str, Shape)] = &[("vrfname", Shape::Any), ("table", Shape::Any)];

/// The first version that the reference plugin has.
const OLDEST: Version = Version::V0_3_1;

#[derive(Deserialize)]
struct Conf {
    #[serde(default)]
    vrfname: String,
    /// The table of the domain; 0: the lowest that no other domain has.
    #[serde(default)]
    table: u32,
}

impl Conf {
    fn read(request: &Request<'_>) -> Result<Conf, Failure> {
        if request.version < OLDEST {
            return Err(Failure::OldVersion {
                version: request.version,
                oldest: OLDEST,
            });
        }
        let conf: Conf = request.read()?;
        match conf.vrfname.is_empty() {
            true => Err(Failure::field(
                "vrfname",
                "is missing; name the routing domain",
            )),
            false => Ok(conf),
        }
    }
}

pub(crate) struct Vrf;

impl Plugin for Vrf {
    fn kind(&self) -> &'static str {
        "vrf"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        Conf::read(request).map(drop)
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let conf = Conf::read(request)?;
        let result = request.needed_prev_result()?;
        sandbox::open(request.target.netns)?.within(|| add(&conf, request))??;
        Ok(result)
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf = Conf::read(request)?;
        request.prev_result()?;
        let namespace = sandbox::open_if_there(request.target.netns)?;
        let ifname = request.target.ifname;
        namespace.map_or(Ok(()), |namespace| remove(&namespace, &conf, ifname))
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf = Conf::read(request)?;
        request.needed_prev_result()?;
        let ifname = request.target.ifname;
        sandbox::open(request.target.netns)?.within(|| {
            let mut netlink = Netlink::open()?;
            let domain = netlink
                .link(&conf.vrfname)?
                .filter(|link| link.kind == "vrf");
            let gone = || Failure::changed(format!("there is no vrf {}", conf.vrfname));
            let domain = domain.ok_or_else(gone)?;
            let port = netlink.link(ifname)?;
            match port.is_some_and(|port| port.controller == Some(domain.index)) {
                true => Ok(()),
                false => Err(Failure::changed(format!(
                    "{ifname} is not a port of the vrf {}",
                    conf.vrfname
                ))),
            }
        })?
    }

    fn status(&self, _request: &Request<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn gc(&self, _request: &Request<'_>) -> Result<(), Failure> {
        // Domains go with their namespaces.
        Ok(())
    }
}

/// ADD, inside the namespace.
fn add(conf: &Conf, request: &Request<'_>) -> Result<(), Failure> {
    let mut netlink = Netlink::open()?;
    let remedy = "put vrf behind the plugin that makes it";
    let port = sandbox::link(&mut netlink, request.target.ifname, remedy)?;
    let (domain, is_new) = ensure_domain(&mut netlink, conf)?;
    let Details::Vrf(table) = domain.details else {
        return Err(Failure::WrongKind {
            name: domain.name,
            kind: "vrf",
        });
    };
    let joined = match port.controller {
        Some(_) => Err(Failure::HasController {
            link: port.name.clone(),
        }),
        None => join(&mut netlink, &port, &domain, table, request),
    };
    joined.inspect_err(|_| {
        let undone = match is_new {
            true => netlink.delete_link(domain.index),
            false if port.controller.is_none() => release(&mut netlink, &port),
            false => Ok(()),
        };
        if let Err(error) = undone {
            tracing::warn!(vrf = domain.name, %error, "a vrf of an ADD that failed is left to DEL");
        }
    })
}

/// The domain, made if it does not exist, and whether it was made.
fn ensure_domain(netlink: &mut Netlink, conf: &Conf) -> Result<(Link, bool), Failure> {
    let name = conf.vrfname.as_str();
    let mut is_new = false;
    if netlink.link(name)?.is_none() {
        let table = match conf.table {
            0 => free_table(&netlink.links()?),
            table => table,
        };
        let wanted = NewLink {
            is_up: true,
            ..NewLink::new(name, NewKind::Vrf { table })
        };
        match netlink.make(&wanted) {
            // Another ADD of the pod was faster.
            Err(error) if error.errno() == Some(nix::libc::EEXIST) => {}
            made => {
                made?;
                is_new = true;
            }
        }
    }
    let found = sandbox::link(netlink, name, "somebody removed it meanwhile; try again")?;
    match found.details {
        Details::Vrf(table) if conf.table != 0 && table != conf.table => {
            let problem = format!(
                "is {}, but {name} has {table}; name another vrf",
                conf.table
            );
            Err(Failure::field("table", problem))
        }
        _ => Ok((found, is_new)),
    }
}

/// The lowest table that no domain has.
fn free_table(links: &[Link]) -> u32 {
    let taken = links.iter().filter_map(|link| match link.details {
        Details::Vrf(table) => Some(table),
        _ => None,
    });
    let taken: BTreeSet<_> = taken.collect();
    let mut tables = 1..u32::MAX;
    tables.find(|table| !taken.contains(table)).unwrap_or(1)
}

/// Makes the interface a port, and puts back what the kernel takes from it then: IPv6 addresses and routes.
fn join(
    netlink: &mut Netlink,
    port: &Link,
    domain: &Link,
    table: u32,
    request: &Request<'_>,
) -> Result<(), Failure> {
    let before = global_ipv6(netlink, port)?;
    let mut routes = netlink.link_routes(port.index)?;
    routes.retain(|route| route.is_global);
    let joined = LinkChange {
        controller: Some(domain.index),
        ..LinkChange::default()
    };
    let doing = format!("make {} a port of {}", port.name, domain.name);
    netlink.change(&doing, port.index, &joined)?;
    let after = match before.is_empty() {
        true => Vec::new(),
        false => global_ipv6(netlink, port)?,
    };
    let lost = before.iter().filter(|address| !after.contains(address));
    let lost: Vec<_> = lost.collect();
    for address in &lost {
        netlink.add_address(port.index, **address)?;
    }
    if !lost.is_empty() {
        // A route has the address as its source only once duplicate detection is over.
        let addresses = lost.iter().map(|address| address.ip());
        sandbox::settle(netlink, port, addresses, request.deadline)?;
    }
    for route in &routes {
        // In the place of the same route over another port, whose own subnets stay: the reference replaces those of IPv6, too.
        let beside = match (route.family, route.gateway) {
            (Family::V6, None) => Beside::Others,
            _ => Beside::Replaced,
        };
        netlink.copy_route(route, table, beside)?;
    }
    Ok(())
}

fn global_ipv6(netlink: &mut Netlink, link: &Link) -> Result<Vec<IpNetwork>, Failure> {
    let addresses = netlink.all_addresses()?.into_iter();
    let ours = addresses.filter(|one| one.link == link.index && one.is_global);
    Ok(ours
        .map(|one| one.address)
        .filter(IpNetwork::is_ipv6)
        .collect())
}

fn release(netlink: &mut Netlink, port: &Link) -> Result<(), netlink::NetlinkError> {
    let free = LinkChange {
        controller: Some(0),
        ..LinkChange::default()
    };
    netlink.change(
        &format!("take {} out of its vrf", port.name),
        port.index,
        &free,
    )
}

/// DEL: the port leaves the domain, which goes if no other is left.
fn remove(namespace: &Namespace, conf: &Conf, ifname: &str) -> Result<(), Failure> {
    namespace.within(|| {
        let mut netlink = Netlink::open()?;
        let Some(domain) = netlink.link(&conf.vrfname)? else {
            return Ok(());
        };
        if domain.kind != "vrf" {
            return Err(Failure::WrongKind {
                name: domain.name,
                kind: "vrf",
            });
        }
        // The reference fails if the interface is gone, and takes it out of whatever it is a port of.
        let port = netlink.link(ifname)?;
        if let Some(port) = port.filter(|port| port.controller == Some(domain.index)) {
            release(&mut netlink, &port)?;
        }
        let links = netlink.links()?;
        let mut ports = links
            .iter()
            .filter(|link| link.controller == Some(domain.index));
        match ports.next() {
            Some(_) => Ok(()),
            None => Ok(netlink.delete_link(domain.index)?),
        }
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_table_that_no_vrf_has_is_free() {
        let vrf = |table| Link {
            details: Details::Vrf(table),
            ..Link::default()
        };
        assert_eq!(free_table(&[]), 1);
        assert_eq!(free_table(&[vrf(1), vrf(2), Link::default(), vrf(4)]), 3);
    }
}
