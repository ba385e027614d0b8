//! The link that a macvlan, an ipvlan or a VLAN stands on: of the host or of the sandbox (`linkInContainer`), by its name or
//! by the default route.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;

use netlink::netns::Namespace;
use netlink::{Family, Link, LinkChange, Netlink, NewLink};

use crate::failure::Failure;
use crate::{hardware, sandbox};

/// RT_TABLE_MAIN, linux/rtnetlink.h.
const MAIN_TABLE: u32 = 254;
/// Addresses that no network has (RFC 5737, RFC 3849): what leads to them is the default route, if there is one.
const OF_NO_NETWORK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Where a master is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the namespace of the plugin.
    Host,
    /// In the sandbox.
    Container,
}

/// The master that a configuration asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Master<'a> {
    /// Its name; empty: the link of the default route.
    pub(crate) name: &'a str,
    /// Where it is.
    pub(crate) place: Place,
}

impl<'a> Master<'a> {
    /// The one of the keys `master` and `linkInContainer`.
    pub(crate) fn new(name: &'a str, link_in_container: bool) -> Master<'a> {
        let place = match link_in_container {
            true => Place::Container,
            false => Place::Host,
        };
        Master { name, place }
    }

    /// The link.
    ///
    /// # Errors
    /// [`Failure::NoLink`]; [`Failure::Field`] if there is no default route.
    pub(crate) fn find(&self, namespace: &Namespace) -> Result<Link, Failure> {
        match self.place {
            Place::Host => find(&mut Netlink::open()?, self.name),
            Place::Container => namespace.within(|| find(&mut Netlink::open()?, self.name))?,
        }
    }

    /// Makes on the master the link that `wanted` describes; it is made in the sandbox.
    ///
    /// # Errors
    /// As [`Master::find`]; what `wanted` returns; [`Failure::Netlink`].
    pub(crate) fn make<'b>(
        &self,
        namespace: &'b Namespace,
        wanted: impl FnOnce(&Link) -> Result<NewLink<'b>, Failure> + Send,
    ) -> Result<(), Failure> {
        let make = |netlink: &mut Netlink| {
            let master = find(netlink, self.name)?;
            let link = NewLink {
                parent: Some(master.index),
                ..wanted(&master)?
            };
            match self.place {
                Place::Container => sandbox::make_link(netlink, &link),
                Place::Host => make_across(netlink, namespace, &link),
            }
        };
        match self.place {
            Place::Host => make(&mut Netlink::open()?),
            Place::Container => namespace.within(|| make(&mut Netlink::open()?))?,
        }
    }
}

/// Makes a link in the sandbox whose parent is on the host.
fn make_across(
    host: &mut Netlink,
    namespace: &Namespace,
    link: &NewLink<'_>,
) -> Result<(), Failure> {
    let link = NewLink {
        namespace: Some(namespace.as_fd()),
        ..*link
    };
    match host.make(&link) {
        Err(error) if error.errno() == Some(nix::libc::EEXIST) => {
            let has_name = namespace.within(|| Netlink::open()?.link(link.name))??;
            match has_name {
                Some(_) => Err(sandbox::name_in_use(link.name)),
                None => make_under_other_name(host, namespace, &link),
            }
        }
        made => Ok(made?),
    }
}

/// Kernels before 6.14 look for the name of a new link in the namespace of the caller, too: if the host has such a link, the
/// new one gets its name in the sandbox.
fn make_under_other_name(
    host: &mut Netlink,
    namespace: &Namespace,
    link: &NewLink<'_>,
) -> Result<(), Failure> {
    let [a, b, c, d, ..] = hardware::random_bytes();
    let name = format!("meta{a:02x}{b:02x}{c:02x}{d:02x}");
    host.make(&NewLink {
        name: &name,
        ..*link
    })?;
    let named = namespace.within(|| {
        let mut netlink = Netlink::open()?;
        let made = sandbox::link(&mut netlink, &name, "somebody removed it; try again")?;
        let change = LinkChange {
            name: Some(link.name),
            ..LinkChange::default()
        };
        let doing = format!("rename {name} to {}", link.name);
        Ok(netlink.change(&doing, made.index, &change)?)
    })?;
    named.inspect_err(|_| sandbox::undo_link(namespace, &name))
}

fn find(netlink: &mut Netlink, name: &str) -> Result<Link, Failure> {
    match name {
        "" => of_default_route(netlink),
        name => sandbox::link(netlink, name, "name an existing interface as master"),
    }
}

/// The link of the default route of the main table: of IPv4, else of IPv6.
fn of_default_route(netlink: &mut Netlink) -> Result<Link, Failure> {
    for address in OF_NO_NETWORK {
        let Some(route) = netlink.route_to(address)? else {
            continue;
        };
        let is_default = route.destination.prefix() == 0 && route.table == MAIN_TABLE;
        let hop = match is_default {
            true => route.hops.first().cloned(),
            // A narrower route leads there, or a rule chose another table: only the list tells.
            false => {
                let all = netlink.default_routes(Family::from(address))?;
                all.first().and_then(|route| route.hops.first().cloned())
            }
        };
        if let Some(hop) = hop
            && let Some(link) = netlink.link_of_index(hop.link)?
        {
            return Ok(link);
        }
    }
    let problem = "is empty, and no default route says which interface to take; name one";
    Err(Failure::field("master", problem))
}

/// The MTU of a link on this master: 0 is the master's own.
///
/// # Errors
/// [`Failure::Field`] if it is negative or more than the master's.
pub(crate) fn mtu(wanted: i64, master: &Link) -> Result<Option<u32>, Failure> {
    let mtu = u32::try_from(wanted).ok().filter(|mtu| *mtu <= master.mtu);
    let mtu = mtu.ok_or_else(|| {
        let (name, most) = (&master.name, master.mtu);
        let problem = format!("{wanted} cannot be served; use 0 (as {name} has) to {most}");
        Failure::field("mtu", problem)
    })?;
    Ok((mtu > 0).then_some(mtu))
}

#[cfg(test)]
mod tests;
