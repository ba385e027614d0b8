//! Addresses and routes of links: to add and to remove, and which one the kernel would take.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType,
};

use super::{Netlink, NetlinkError, TableRoute, lookup, message};

/// A route that is to be added to a namespace. What is absent is the kernel's choice.
#[derive(Clone, Debug)]
pub struct NewRoute {
    /// The destination; its host bits are left out.
    pub destination: IpNetwork,
    /// The next router; none if the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The index of the interface.
    pub link: u32,
    /// The address that packets get as their source.
    pub source: Option<IpAddr>,
    /// The metric: the lowest wins.
    pub priority: Option<u32>,
    /// The table; main if absent.
    pub table: Option<u32>,
    /// The scope, by the kernel's numbers (RT_SCOPE_*, linux/rtnetlink.h); 0 if absent.
    pub scope: Option<u8>,
    /// The MTU along the path in bytes.
    pub mtu: Option<u32>,
    /// The maximal segment size to advertise, in bytes.
    pub advmss: Option<u32>,
    /// What becomes of a route with the same destination and metric.
    pub beside: Beside,
}

/// What becomes of a route that has the same destination and metric as a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// The new one is refused with EEXIST.
    Nothing,
    /// Both lead to the destination; of IPv4, the new one comes first.
    Others,
    /// The new one takes its place (NLM_F_REPLACE); of IPv6, also one over another link.
    Replaced,
}

impl Beside {
    pub(super) fn flag(self) -> u16 {
        match self {
            Beside::Nothing => NLM_F_EXCL,
            Beside::Others => 0,
            Beside::Replaced => NLM_F_REPLACE,
        }
    }
}

impl NewRoute {
    /// A route over a link of which nothing else is said.
    pub fn over(link: u32, destination: IpNetwork, gateway: Option<IpAddr>) -> NewRoute {
        NewRoute {
            destination,
            gateway,
            link,
            source: None,
            priority: None,
            table: None,
            scope: None,
            mtu: None,
            advmss: None,
            beside: Beside::Nothing,
        }
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        let scope = self.scope.unwrap_or(0);
        // A table above 255 stands in the attribute alone (RT_TABLE_COMPAT is not needed for the way in).
        let table = self.table.unwrap_or(RouteHeader::RT_TABLE_MAIN.into());
        message.header = RouteHeader {
            address_family: message::address_family(self.destination.ip().into()),
            destination_prefix_length: self.destination.prefix(),
            table: u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
            // As `ip route` and the reference plugins have it.
            protocol: RouteProtocol::Boot,
            scope: RouteScope::from(scope),
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        let attributes = &mut message.attributes;
        let network = self.destination.network();
        attributes.push(RouteAttribute::Destination(network.into()));
        attributes.extend(self.gateway.map(|to| RouteAttribute::Gateway(to.into())));
        let source = self.source.map(|from| from.into());
        attributes.extend(source.map(RouteAttribute::PrefSource));
        attributes.push(RouteAttribute::Oif(self.link));
        attributes.extend(self.priority.map(RouteAttribute::Priority));
        if self.table.is_some() {
            attributes.push(RouteAttribute::Table(table));
        }
        let mtu = self.mtu.map(RouteMetric::Mtu);
        let advmss = self.advmss.map(RouteMetric::Advmss);
        let metrics: Vec<_> = mtu.into_iter().chain(advmss).collect();
        if !metrics.is_empty() {
            attributes.push(RouteAttribute::Metrics(metrics));
        }
        message
    }
}

impl Netlink {
    /// Gives a link an address. An IPv4 address of a prefix up to 30 gets the broadcast address of its subnet.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with EEXIST if the link has the address, with EACCES (kernels before 6) or EPERM if IPv6 is
    /// switched off on the link; others as they are documented.
    pub fn add_address(&mut self, link: u32, address: IpNetwork) -> Result<(), NetlinkError> {
        let mut request = of_address(link, address);
        if let IpNetwork::V4(v4) = address
            && v4.prefix() <= 30
        {
            let broadcast = Ipv4Addr::from(u32::from(v4.ip()) | !u32::from(v4.mask()));
            let broadcast = AddressAttribute::Broadcast(broadcast);
            request.attributes.push(broadcast);
        }
        self.exchange.request(
            &format!("add the address {address}"),
            RouteNetlinkMessage::NewAddress(request),
            NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Takes an address from a link.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with EADDRNOTAVAIL if the link does not have it; others as they are documented.
    pub fn remove_address(&mut self, link: u32, address: IpNetwork) -> Result<(), NetlinkError> {
        self.exchange.request(
            &format!("remove the address {address}"),
            RouteNetlinkMessage::DelAddress(of_address(link, address)),
            NLM_F_ACK,
        )
    }

    /// Adds a route.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with EEXIST if there is such a route, with ENETUNREACH (IPv4) or EHOSTUNREACH (IPv6) if the
    /// gateway is not on the link; others as they are documented.
    pub fn add_route(&mut self, route: &NewRoute) -> Result<(), NetlinkError> {
        self.exchange.request(
            &format!("add the route to {}", route.destination),
            RouteNetlinkMessage::NewRoute(route.message()),
            NLM_F_ACK | NLM_F_CREATE | route.beside.flag(),
        )
    }

    /// Removes the route of the main table to this destination over this link, whoever added it.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with ESRCH if there is none; others as they are documented.
    pub fn remove_route(&mut self, link: u32, destination: IpNetwork) -> Result<(), NetlinkError> {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: message::address_family(destination.ip().into()),
            destination_prefix_length: destination.prefix(),
            table: RouteHeader::RT_TABLE_MAIN,
            // Of any scope, protocol and type.
            scope: RouteScope::NoWhere,
            ..RouteHeader::default()
        };
        message.attributes = vec![
            RouteAttribute::Destination(destination.network().into()),
            RouteAttribute::Oif(link),
        ];
        self.exchange.request(
            &format!("remove the route to {destination}"),
            RouteNetlinkMessage::DelRoute(message),
            NLM_F_ACK,
        )
    }

    /// Removes a route that [`Netlink::add_route`] added.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with ESRCH if there is no such route; others as they are documented.
    pub fn remove_added_route(&mut self, route: &NewRoute) -> Result<(), NetlinkError> {
        self.exchange.request(
            &format!("remove the route to {}", route.destination),
            RouteNetlinkMessage::DelRoute(route.message()),
            NLM_F_ACK,
        )
    }

    /// The entry of the routing tables that the kernel takes for a packet to `address` (RTM_F_FIB_MATCH); none if it takes
    /// none. Costs the same however many routes there are.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn route_to(&mut self, address: IpAddr) -> Result<Option<TableRoute>, NetlinkError> {
        use nix::libc::{EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH};

        let mut request = RouteMessage::default();
        let family = address.into();
        request.header.address_family = message::address_family(family);
        request.header.destination_prefix_length = message::host_prefix(family);
        request.header.flags = RouteFlags::FibMatch;
        request.attributes = vec![RouteAttribute::Destination(address.into())];
        let answers = self.exchange.list(
            &format!("find the route to {address}"),
            RouteNetlinkMessage::GetRoute(request),
            NLM_F_ACK,
        );
        let answers = match answers {
            // What leads nowhere is refused with the error that a packet would meet.
            Err(error)
                if matches!(
                    error.errno(),
                    Some(ENETUNREACH | EHOSTUNREACH | EACCES | EINVAL)
                ) =>
            {
                return Ok(None);
            }
            answers => answers?,
        };
        Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(found) => lookup::route_of_any_type(family, &found),
            _ => None,
        }))
    }
}

fn of_address(link: u32, address: IpNetwork) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = message::address_family(address.ip().into());
    message.header.prefix_len = address.prefix();
    message.header.index = link;
    message.attributes = vec![
        AddressAttribute::Local(address.ip()),
        AddressAttribute::Address(address.ip()),
    ];
    message
}

#[cfg(test)]
mod tests;
