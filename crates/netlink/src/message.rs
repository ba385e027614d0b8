//! What rtnetlink messages say in our words, and the messages that we send (rtnetlink(7)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, InfoBridge, InfoData, InfoIpVlan, InfoMacVlan, InfoVlan, InfoVrf,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Prop, State,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop,
    RouteNextHopFlags, RouteProtocol, RouteScope, RouteType, RouteVia,
};

use super::{Details, Family, Hop, Ipv6Settings, Link, Route};

pub(super) fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

/// The length of the prefix of a single address.
pub(super) fn host_prefix(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

pub(super) fn link(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        is_up: message.header.flags.contains(LinkFlags::Up),
        has_carrier: message.header.flags.contains(LinkFlags::LowerUp),
        is_promiscuous: message.header.flags.contains(LinkFlags::Promisc),
        is_all_multicast: message.header.flags.contains(LinkFlags::Allmulti),
        ..Link::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = alias,
            LinkAttribute::PropList(properties) => {
                link.alternative_names = properties
                    .into_iter()
                    .filter_map(alternative_name)
                    .collect();
            }
            LinkAttribute::Address(bytes) => {
                link.mac = bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<Vec<_>>()
                    .join(":");
            }
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(index) => link.controller = Some(index),
            LinkAttribute::Link(index) => link.parent = Some(index),
            LinkAttribute::Promiscuity(users) => link.promiscuity = users,
            LinkAttribute::TxQueueLen(packets) => link.tx_queue = packets,
            LinkAttribute::OperState(state) => link.is_operational = state == State::Up,
            LinkAttribute::AfSpecUnspec(families) => link.ipv6 = families.iter().find_map(ipv6),
            LinkAttribute::LinkInfo(info) => {
                link.details = info.iter().find_map(details).unwrap_or_default();
                link.kind = info.into_iter().find_map(kind).unwrap_or_default();
            }
            _ => {}
        }
    }
    link
}

fn ipv6(family: &AfSpecUnspec) -> Option<Ipv6Settings> {
    let AfSpecUnspec::Inet6(attributes) = family else {
        return None;
    };
    attributes.iter().find_map(|attribute| match attribute {
        AfSpecInet6::DevConf(settings) => Some(Ipv6Settings {
            is_disabled: settings.disable_ipv6 != 0,
            accept_ra: settings.accept_ra,
            accept_dad: settings.accept_dad,
        }),
        _ => None,
    })
}

fn alternative_name(property: Prop) -> Option<String> {
    match property {
        Prop::AltIfName(name) => Some(name),
        _ => None,
    }
}

fn kind(info: LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

fn details(info: &LinkInfo) -> Option<Details> {
    let LinkInfo::Data(data) = info else {
        return None;
    };
    match data {
        InfoData::Bridge(data) => data.iter().find_map(|one| match one {
            InfoBridge::VlanDefaultPvid(vlan) => Some(Details::Bridge {
                default_vlan: *vlan,
            }),
            _ => None,
        }),
        InfoData::MacVlan(data) => data.iter().find_map(|one| match one {
            InfoMacVlan::Mode(mode) => Some(Details::Macvlan(*mode)),
            _ => None,
        }),
        InfoData::IpVlan(data) => data.iter().find_map(|one| match one {
            InfoIpVlan::Mode(mode) => Some(Details::Ipvlan(*mode)),
            _ => None,
        }),
        InfoData::Vlan(data) => data.iter().find_map(|one| match one {
            InfoVlan::Id(id) => Some(Details::Vlan(*id)),
            _ => None,
        }),
        InfoData::Vrf(data) => data.iter().find_map(|one| match one {
            InfoVrf::TableId(table) => Some(Details::Vrf(*table)),
            _ => None,
        }),
        _ => None,
    }
}

pub(super) fn address(message: &AddressMessage) -> Option<IpNetwork> {
    // On a point-to-point link IFA_ADDRESS is the peer's, whose prefix is what is on the link.
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
        .and_then(|address| IpNetwork::new(address, message.header.prefix_len).ok())
}

/// The route, if it is a unicast default route of the main table.
pub(super) fn default_route(family: Family, message: RouteMessage) -> Option<Route> {
    let header = &message.header;
    let mut table = u32::from(header.table);
    let mut metric = 0;
    let mut is_transient = header.protocol == RouteProtocol::Ra;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(wide) => table = *wide,
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::CacheInfo(cache) => is_transient |= cache.expires != 0,
            RouteAttribute::Expires(_) | RouteAttribute::MulticastExpires(_) => is_transient = true,
            RouteAttribute::Destination(address) if !unspecified(address) => return None,
            _ => {}
        }
    }
    let default = header.address_family == address_family(family)
        && header.destination_prefix_length == 0
        && header.source_prefix_length == 0
        && header.kind == RouteType::Unicast
        && table == u32::from(RouteHeader::RT_TABLE_MAIN)
        && !header.flags.contains(RouteFlags::Cloned);
    let tos = header.tos;
    let hops = route_hops(&message);
    if !default || hops.is_empty() {
        return None;
    }
    Some(Route {
        family,
        metric,
        tos,
        is_transient,
        hops,
        message,
    })
}

/// Where a route leads.
pub(super) fn route_hops(message: &RouteMessage) -> Vec<Hop> {
    hops(message)
        .iter()
        .map(|hop| Hop {
            link: hop.interface_index,
            gateway: gateway(&hop.attributes),
        })
        .collect()
}

pub(super) fn new_default(gateway: IpAddr, link: u32, flags: RouteFlags) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        flags,
        address_family: address_family(gateway.into()),
        table: RouteHeader::RT_TABLE_MAIN,
        // As `ip route` and the reference plugins have it.
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Gateway(gateway.into()),
        RouteAttribute::Oif(link),
    ];
    message
}

/// A default route of the main table over these hops, as the kernel would list it.
pub(super) fn default_over(family: Family, metric: u32, hops: &[Hop]) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: address_family(family),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Priority(metric)];
    match hops {
        [Hop { link, gateway }] => {
            message.attributes.push(RouteAttribute::Oif(*link));
            let gateway = gateway.map(|gateway| RouteAttribute::Gateway(gateway.into()));
            message.attributes.extend(gateway);
        }
        hops => {
            let next = hops.iter().map(|hop| {
                let mut next = RouteNextHop::default();
                next.interface_index = hop.link;
                let gateway = hop.gateway.into_iter();
                next.attributes = gateway
                    .map(|gateway| RouteAttribute::Gateway(gateway.into()))
                    .collect();
                next
            });
            message
                .attributes
                .push(RouteAttribute::MultiPath(next.collect()));
        }
    }
    message
}

/// The request that removes a route and no other.
pub(super) fn deletion(route: &RouteMessage) -> RouteMessage {
    let by_id = route
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, RouteAttribute::NhId(_)));
    let mut message = RouteMessage::default();
    message.header = route.header.clone();
    message.header.flags = RouteFlags::empty();
    message.attributes = route
        .attributes
        .iter()
        .filter(|attribute| match attribute {
            RouteAttribute::Table(_) | RouteAttribute::Priority(_) | RouteAttribute::NhId(_) => {
                true
            }
            RouteAttribute::PrefSource(_) => true,
            // The kernel takes the id of a nexthop object or the hops, never both.
            RouteAttribute::Oif(_)
            | RouteAttribute::Gateway(_)
            | RouteAttribute::Via(_)
            | RouteAttribute::MultiPath(_) => !by_id,
            _ => false,
        })
        .cloned()
        .collect();
    message
}

/// The same route over those of its hops whose link `keep` accepts.
pub(super) fn with_hops(route: &RouteMessage, keep: impl Fn(u32) -> bool) -> RouteMessage {
    let mut kept: Vec<RouteNextHop> = hops(route)
        .into_iter()
        .filter(|hop| keep(hop.interface_index))
        .collect();
    for hop in &mut kept {
        hop.flags &= RouteNextHopFlags::Onlink;
    }
    let mut message = RouteMessage::default();
    message.header = route.header.clone();
    message.header.flags = RouteFlags::empty();
    message.attributes = route
        .attributes
        .iter()
        .filter(|attribute| {
            matches!(
                attribute,
                RouteAttribute::Table(_)
                    | RouteAttribute::Priority(_)
                    | RouteAttribute::PrefSource(_)
                    | RouteAttribute::Metrics(_)
                    | RouteAttribute::Realm(_)
            )
        })
        .cloned()
        .collect();
    match <[RouteNextHop; 1]>::try_from(kept) {
        Ok([hop]) => {
            if hop.flags.contains(RouteNextHopFlags::Onlink) {
                message.header.flags = RouteFlags::Onlink;
            }
            message
                .attributes
                .push(RouteAttribute::Oif(hop.interface_index));
            message.attributes.extend(hop.attributes);
        }
        Err(several) => message.attributes.push(RouteAttribute::MultiPath(several)),
    }
    message
}

/// The hops of a route: those of RTA_MULTIPATH, or the one that the route itself has.
fn hops(route: &RouteMessage) -> Vec<RouteNextHop> {
    let several = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::MultiPath(hops) => Some(hops.clone()),
            _ => None,
        });
    if let Some(several) = several {
        return several;
    }
    let link = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(link) => Some(*link),
            _ => None,
        });
    let Some(link) = link else {
        return Vec::new();
    };
    let mut hop = RouteNextHop::default();
    hop.interface_index = link;
    hop.attributes = route
        .attributes
        .iter()
        .filter(|attribute| {
            matches!(
                attribute,
                RouteAttribute::Gateway(_)
                    | RouteAttribute::Via(_)
                    | RouteAttribute::EncapType(_)
                    | RouteAttribute::Encap(_)
            )
        })
        .cloned()
        .collect();
    vec![hop]
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })
}

fn unspecified(address: &RouteAddress) -> bool {
    match address {
        RouteAddress::Inet(address) => *address == Ipv4Addr::UNSPECIFIED,
        RouteAddress::Inet6(address) => *address == Ipv6Addr::UNSPECIFIED,
        _ => false,
    }
}
