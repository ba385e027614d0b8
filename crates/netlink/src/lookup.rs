//! Questions about single links and addresses, which cost the same however many there are, and the lists of a whole
//! namespace that CHECK compares with a record.

use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_DUMP};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType,
};

use super::{Family, Hop, Link, Netlink, NetlinkError, message};

/// IFNAMSIZ - 1, linux/if.h.
const LONGEST_NAME: usize = 15;
/// ALTIFNAMSIZ - 1, linux/if.h.
const LONGEST_ALTERNATIVE_NAME: usize = 127;
/// linux/if_link.h.
const IFLA_ALT_IFNAME: u16 = 53;

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkAddress {
    /// The index of the link.
    pub link: u32,
    /// The address with the length of its prefix.
    pub address: IpNetwork,
    /// Whether it is valid beyond the link (scope global).
    pub is_global: bool,
    /// How far duplicate address detection came; [`Detection::Done`] for IPv4.
    pub detection: Detection,
}

/// How far the duplicate address detection of an IPv6 address came (RFC 4862 §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// The address can be used.
    Done,
    /// The address is tentative: nothing can use it yet.
    Pending,
    /// Another host has the address: nothing can use it here.
    Failed,
}

/// A route of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRoute {
    /// The table.
    pub table: u32,
    /// The destination.
    pub destination: IpNetwork,
    /// Where it leads.
    pub hops: Vec<Hop>,
}

impl Netlink {
    /// The link of this name, or of this alternative name; none if there is none, or if no link can have it.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let attribute = match name.len() {
            1..=LONGEST_NAME => LinkAttribute::IfName(name.to_owned()),
            // It can only be an alternative name.
            16..=LONGEST_ALTERNATIVE_NAME => {
                let bytes = [name.as_bytes(), b"\0"].concat();
                LinkAttribute::Other(DefaultNla::new(IFLA_ALT_IFNAME, bytes))
            }
            _ => return Ok(None),
        };
        let mut request = LinkMessage::default();
        let doing = format!("find the interface {name}");
        request.attributes.push(attribute);
        self.find_link(&doing, request)
    }

    /// The link of this index; none if there is none.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn link_of_index(&mut self, index: u32) -> Result<Option<Link>, NetlinkError> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        self.find_link(&format!("find the interface of index {index}"), request)
    }

    fn find_link(
        &mut self,
        doing: &str,
        mut request: LinkMessage,
    ) -> Result<Option<Link>, NetlinkError> {
        let without_statistics = LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]);
        request.attributes.push(without_statistics);
        let request = RouteNetlinkMessage::GetLink(request);
        let answers = self.exchange.list(doing, request, NLM_F_ACK);
        let answers = match answers {
            Err(error) if error.errno() == Some(nix::libc::ENODEV) => return Ok(None),
            answers => answers?,
        };
        Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(found) => Some(message::link(found)),
            _ => None,
        }))
    }

    /// How far the duplicate detection of an address of a link came; none if the link does not have the address.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn detection(
        &mut self,
        link: u32,
        address: Ipv6Addr,
    ) -> Result<Option<Detection>, NetlinkError> {
        use nix::libc::{EADDRNOTAVAIL, ENODEV};

        let mut request = AddressMessage::default();
        request.header.family = message::address_family(Family::V6);
        request.header.prefix_len = 128;
        request.header.index = link;
        request.attributes = vec![AddressAttribute::Local(IpAddr::V6(address))];
        let answers = self.exchange.list(
            &format!("find the address {address}"),
            RouteNetlinkMessage::GetAddress(request),
            NLM_F_ACK,
        );
        let answers = match answers {
            Err(error) if matches!(error.errno(), Some(EADDRNOTAVAIL | ENODEV)) => return Ok(None),
            answers => answers?,
        };
        Ok(answers.iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(found) => Some(detection(found)),
            _ => None,
        }))
    }

    /// The addresses of all links, of both families.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn all_addresses(&mut self) -> Result<Vec<LinkAddress>, NetlinkError> {
        let answers = self.exchange.list(
            "list addresses",
            RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            NLM_F_DUMP,
        )?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(found) => link_address(found),
                _ => None,
            })
            .collect())
    }

    /// The unicast routes of a family in all tables.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn all_routes(&mut self, family: Family) -> Result<Vec<TableRoute>, NetlinkError> {
        self.list_routes(family, |route| table_route(family, &route))
    }
}

fn link_address(message: &AddressMessage) -> Option<LinkAddress> {
    // On a point-to-point link IFA_ADDRESS is the peer's.
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => address = Some(*local),
            AddressAttribute::Address(other) => address = address.or(Some(*other)),
            _ => {}
        }
    }
    Some(LinkAddress {
        link: message.header.index,
        address: IpNetwork::new(address?, message.header.prefix_len).ok()?,
        is_global: message.header.scope == AddressScope::Universe,
        detection: detection(message),
    })
}

fn detection(message: &AddressMessage) -> Detection {
    let wide = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
    let short = || AddressFlags::from_bits_retain(message.header.flags.bits().into());
    let flags = wide.unwrap_or_else(short);
    // An address that failed stays tentative; one that is optimistic can be used while it is.
    if flags.contains(AddressFlags::Dadfailed) {
        Detection::Failed
    } else if flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic) {
        Detection::Pending
    } else {
        Detection::Done
    }
}

fn table_route(family: Family, message: &RouteMessage) -> Option<TableRoute> {
    let header = &message.header;
    if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    route_of_any_type(family, message)
}

/// The route of a message: unicast, to an address of this host, or of another type.
pub(super) fn route_of_any_type(family: Family, message: &RouteMessage) -> Option<TableRoute> {
    let header = &message.header;
    let mut table = u32::from(header.table);
    let mut destination = match family {
        Family::V4 => IpAddr::from([0; 4]),
        Family::V6 => IpAddr::from([0; 16]),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(wide) => table = *wide,
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => destination = (*v4).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => destination = (*v6).into(),
            _ => {}
        }
    }
    Some(TableRoute {
        table,
        destination: IpNetwork::new(destination, header.destination_prefix_length).ok()?,
        hops: message::route_hops(message),
    })
}

#[cfg(test)]
mod tests;
