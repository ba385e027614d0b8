//! Routes of a link in the main table, as the kernel lists them: to copy to another table, to remove, and to put back.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteScope,
};

use super::{Beside, Family, Netlink, NetlinkError};

/// A route of the main table that leads over one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRoute {
    /// Its family.
    pub family: Family,
    /// The address that packets get as their source.
    pub source: Option<IpAddr>,
    /// The next router, of the route's family; none if the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Whether the destination is on the link (RT_SCOPE_LINK); never for IPv6, which has no scopes.
    pub is_of_link: bool,
    /// Whether the destination is anywhere (RT_SCOPE_UNIVERSE); always for IPv6.
    pub is_global: bool,
    message: RouteMessage,
}

impl Netlink {
    /// The routes of the main table that lead over this link alone, IPv4 first.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn link_routes(&mut self, link: u32) -> Result<Vec<LinkRoute>, NetlinkError> {
        let mut routes =
            self.list_routes(Family::V4, |route| link_route(Family::V4, link, route))?;
        routes.extend(self.list_routes(Family::V6, |route| link_route(Family::V6, link, route))?);
        Ok(routes)
    }

    /// Puts a route into a table. A route that is the same in all is no error.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with ENETUNREACH (IPv4) or EHOSTUNREACH (IPv6) if there is no way to its gateway; others as
    /// they are documented.
    pub fn copy_route(
        &mut self,
        route: &LinkRoute,
        table: u32,
        beside: Beside,
    ) -> Result<(), NetlinkError> {
        let copied = self.exchange.request(
            &format!("copy a route to table {table}"),
            RouteNetlinkMessage::NewRoute(in_table(&route.message, table)),
            NLM_F_ACK | NLM_F_CREATE | beside.flag(),
        );
        match copied {
            Err(error) if error.errno() == Some(nix::libc::EEXIST) && beside == Beside::Others => {
                Ok(())
            }
            other => other,
        }
    }

    /// Removes a route from a table.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with ESRCH if the table does not have it; others as they are documented.
    pub fn remove_link_route(&mut self, route: &LinkRoute, table: u32) -> Result<(), NetlinkError> {
        self.exchange.request(
            &format!("remove a route from table {table}"),
            RouteNetlinkMessage::DelRoute(in_table(&route.message, table)),
            NLM_F_ACK,
        )
    }
}

fn link_route(family: Family, link: u32, message: RouteMessage) -> Option<LinkRoute> {
    let header = &message.header;
    let mut table = u32::from(header.table);
    let mut leads_over = None;
    let mut source = None;
    let mut gateway = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(wide) => table = *wide,
            RouteAttribute::Oif(index) => leads_over = Some(*index),
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            _ => {}
        }
    }
    let is_ours = leads_over == Some(link)
        && table == u32::from(RouteHeader::RT_TABLE_MAIN)
        && !header.flags.contains(RouteFlags::Cloned);
    let scope = header.scope;
    is_ours.then_some(LinkRoute {
        family,
        source,
        gateway,
        is_of_link: scope == RouteScope::Link,
        is_global: scope == RouteScope::Universe,
        message,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

/// The same route in another table, without what the kernel says of its state.
fn in_table(route: &RouteMessage, table: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        flags: RouteFlags::empty(),
        source_prefix_length: 0,
        table: u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        ..route.header.clone()
    };
    let kept = route.attributes.iter().filter(|attribute| {
        matches!(
            attribute,
            RouteAttribute::Destination(_)
                | RouteAttribute::PrefSource(_)
                | RouteAttribute::Gateway(_)
                | RouteAttribute::Via(_)
                | RouteAttribute::Oif(_)
                | RouteAttribute::Priority(_)
                | RouteAttribute::Realm(_)
                | RouteAttribute::Metrics(_)
                | RouteAttribute::EncapType(_)
                | RouteAttribute::Encap(_)
        )
    });
    message.attributes = kept.cloned().collect();
    message.attributes.push(RouteAttribute::Table(table));
    message
}

#[cfg(test)]
mod tests;
