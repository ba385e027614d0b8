//! Links, addresses and routes of the network namespace that the calling thread is in, over rtnetlink (rtnetlink(7)), and
//! work inside other namespaces ([`netns`]). Blocking: no async runtime. What to change is decided by the callers.

mod change;
mod configure;
mod events;
mod exchange;
mod link_routes;
mod lookup;
mod make;
mod message;
pub mod netns;
mod rules;
#[cfg(test)]
mod test_netns;

use std::io;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage};
use netlink_packet_route::route::{RouteFlags, RouteMessage};

pub use change::{LinkChange, PortVlan};
pub use configure::{Beside, NewRoute};
pub use events::{Events, Topic};
use exchange::Exchange;
pub use link_routes::LinkRoute;
pub use lookup::{Detection, LinkAddress, TableRoute};
pub use make::{IpVlanFlags, IpVlanMode, MacVlanMode, NewKind, NewLink};
pub use rules::Rule;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index in the namespace, from 1.
    pub index: u32,
    /// Its name, 1 to 15 bytes.
    pub name: String,
    /// What was written about it (IFLA_IFALIAS, `ip link set … alias`); host-device writes the name that it had in the host.
    pub alias: String,
    /// More names that it goes by, of up to 127 bytes (IFLA_ALT_IFNAME; `ip link property`).
    pub alternative_names: Vec<String>,
    /// Its hardware address as `02:00:00:00:00:01`; empty if it has none.
    pub mac: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it was set up (IFF_UP).
    pub is_up: bool,
    /// Whether it has a carrier (IFF_LOWER_UP).
    pub has_carrier: bool,
    /// The kind of a virtual one, for example `bridge`; empty if it has none.
    pub kind: String,
    /// Whether it can pass traffic (IF_OPER_UP, RFC 2863).
    pub is_operational: bool,
    /// The index of the bridge, bond or vrf that it is a port of.
    pub controller: Option<u32>,
    /// The index of the link that it stands on, or of its other end (IFLA_LINK), in the namespace of that link.
    pub parent: Option<u32>,
    /// Whether it takes every frame (IFF_PROMISC).
    pub is_promiscuous: bool,
    /// How many users of it need every frame (IFLA_PROMISCUITY): who set it promiscuous, a bridge, a capture.
    pub promiscuity: u32,
    /// Whether it takes every multicast frame (IFF_ALLMULTI).
    pub is_all_multicast: bool,
    /// The length of its transmit queue in packets.
    pub tx_queue: u32,
    /// What only its kind has, if it is a kind of which that is of interest.
    pub details: Details,
    /// Its IPv6; none if it has none: the kernel is without IPv6, or its MTU is below 1280.
    pub ipv6: Option<Ipv6Settings>,
}

/// How IPv6 is set on a link: some of `net.ipv6.conf.LINK`, which come along with the link (IFLA_INET6_CONF) for less than the
/// files of /proc/sys cost, whose look-up also grows with the namespaces of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ipv6Settings {
    /// `disable_ipv6`.
    pub is_disabled: bool,
    /// `accept_ra`: 0 for no router advertisement.
    pub accept_ra: i32,
    /// `accept_dad`: 0 for no duplicate address detection.
    pub accept_dad: i32,
}

/// What only links of one kind have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Details {
    /// Nothing that is of interest.
    #[default]
    None,
    /// Of a bridge.
    Bridge {
        /// The VLAN that a new port has (IFLA_BR_VLAN_DEFAULT_PVID); 0: none.
        default_vlan: u16,
    },
    /// Of a macvlan.
    Macvlan(MacVlanMode),
    /// Of an ipvlan.
    Ipvlan(IpVlanMode),
    /// Of a VLAN: its number.
    Vlan(u16),
    /// Of a vrf: its table.
    Vrf(u32),
}

/// A default route of the main table, as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its family.
    pub family: Family,
    /// Its metric: the lowest wins. 0 for IPv4 and 1024 for IPv6 unless it was asked for.
    pub metric: u32,
    /// IPv4: the type of service that it is for; 0 for all.
    pub tos: u8,
    /// Whether the kernel removes the route by itself: learned from a router advertisement, or with an expiry.
    pub is_transient: bool,
    /// Where it leads: one hop, or several of a multipath route.
    pub hops: Vec<Hop>,
    message: RouteMessage,
}

impl Route {
    /// A default route of the main table with these hops and nothing else said of it. A gateway is of its `family`.
    pub fn over(family: Family, metric: u32, hops: Vec<Hop>) -> Self {
        Route {
            family,
            metric,
            tos: 0,
            is_transient: false,
            message: message::default_over(family, metric, &hops),
            hops,
        }
    }
}

/// One way that a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The index of the interface.
    pub link: u32,
    /// The next router; none if the destination is on the link.
    pub gateway: Option<IpAddr>,
}

/// A request to the kernel that failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No netlink socket.
    #[error("cannot open a netlink socket")]
    Open {
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The request was not sent, or its answer not received.
    #[error("cannot {operation}: no exchange with the kernel")]
    Exchange {
        /// What was asked, for example `list links`.
        operation: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The answer could not be understood.
    #[error("cannot {operation}: the kernel's answer is not understood")]
    Decode {
        /// What was asked.
        operation: String,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// The kernel refused.
    #[error("cannot {operation}{}", in_brackets(detail))]
    Refused {
        /// What was asked.
        operation: String,
        /// What the kernel says of it in words, if anything (NLMSGERR_ATTR_MSG).
        detail: Option<String>,
        /// Its error number.
        #[source]
        source: io::Error,
    },
    /// What was listed changed each time while it was being listed.
    #[error("cannot {operation}: it keeps changing; try again")]
    Changing {
        /// What was asked.
        operation: String,
    },
}

fn in_brackets(detail: &Option<String>) -> String {
    match detail {
        Some(detail) => format!(" ({})", detail.trim_end_matches('.')),
        None => String::new(),
    }
}

impl NetlinkError {
    /// The kernel's error number, if it refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            NetlinkError::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// A connection to the kernel for the namespace that the thread was in when it was opened.
pub struct Netlink {
    exchange: Exchange,
}

impl Netlink {
    /// Opens one.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn open() -> Result<Self, NetlinkError> {
        let exchange = Exchange::open().map_err(|source| NetlinkError::Open { source })?;
        Ok(Netlink { exchange })
    }

    /// All links, in the kernel's order.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        self.list_links(LinkMessage::default())
    }

    /// Whether the kernel has interfaces of this kind ready, for example `macvlan`: built in, or its module
    /// loaded. The request loads no module.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn has_kind(&mut self, kind: &str) -> Result<bool, NetlinkError> {
        // The list of links of a kind that the kernel does not know is not filtered (rtnl_dump_ifinfo).
        let mut request = LinkMessage::default();
        request.attributes.push(of_kind(kind));
        let listed = self.list_links(request)?;
        Ok(listed.iter().all(|link| link.kind == kind))
    }

    /// Asks the kernel to make an interface of this kind with nothing else said of it. Most kinds refuse that;
    /// what is of interest is whether it knows the kind, for which it loads a module.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with EOPNOTSUPP if it does not; others as they are documented.
    pub fn make_of_kind(&mut self, kind: &str) -> Result<(), NetlinkError> {
        let mut request = LinkMessage::default();
        request.attributes.push(of_kind(kind));
        self.exchange.request(
            &format!("make an interface of kind {kind}"),
            RouteNetlinkMessage::NewLink(request),
            NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    fn list_links(&mut self, mut request: LinkMessage) -> Result<Vec<Link>, NetlinkError> {
        request
            .attributes
            .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let answers = self.exchange.list(
            "list links",
            RouteNetlinkMessage::GetLink(request),
            NLM_F_DUMP,
        )?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(message) => Some(message::link(message)),
                _ => None,
            })
            .collect())
    }

    /// The addresses of a family that a link has, with the length of their prefix.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn addresses(&mut self, family: Family, link: u32) -> Result<Vec<IpNetwork>, NetlinkError> {
        let mut request = AddressMessage::default();
        request.header.family = message::address_family(family);
        let answers = self.exchange.list(
            &format!("list {family} addresses"),
            RouteNetlinkMessage::GetAddress(request),
            NLM_F_DUMP,
        )?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(message) if message.header.index == link => {
                    message::address(&message)
                }
                _ => None,
            })
            .collect())
    }

    /// The unicast default routes of a family in the main table, in the kernel's order.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn default_routes(&mut self, family: Family) -> Result<Vec<Route>, NetlinkError> {
        self.list_routes(family, |route| message::default_route(family, route))
    }

    /// The routes of a family in all tables, as `read` reads them.
    fn list_routes<T>(
        &mut self,
        family: Family,
        mut read: impl FnMut(RouteMessage) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut request = RouteMessage::default();
        request.header.address_family = message::address_family(family);
        let answers = self.exchange.list(
            &format!("list {family} routes"),
            RouteNetlinkMessage::GetRoute(request),
            NLM_F_DUMP,
        )?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewRoute(route) => read(route),
                _ => None,
            })
            .collect())
    }

    /// Sets `default via gateway dev link` with the kernel's own metric. It replaces a default route of the same
    /// metric in one step; others stay.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with ENETUNREACH (IPv4) or EHOSTUNREACH (IPv6) if the gateway is not on
    /// the link; others as they are documented.
    pub fn replace_default(&mut self, gateway: IpAddr, link: u32) -> Result<(), NetlinkError> {
        self.set_default(gateway, link, RouteFlags::empty())
    }

    /// The same for a gateway that is on the link although no prefix of the link has it (RTNH_F_ONLINK).
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn replace_default_on_link(
        &mut self,
        gateway: IpAddr,
        link: u32,
    ) -> Result<(), NetlinkError> {
        self.set_default(gateway, link, RouteFlags::Onlink)
    }

    fn set_default(
        &mut self,
        gateway: IpAddr,
        link: u32,
        flags: RouteFlags,
    ) -> Result<(), NetlinkError> {
        self.exchange.request(
            &format!("set the default route via {gateway}"),
            RouteNetlinkMessage::NewRoute(message::new_default(gateway, link, flags)),
            NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// Removes a route. A route that does not exist is no error.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn delete(&mut self, route: &Route) -> Result<(), NetlinkError> {
        self.remove(route.family, message::deletion(&route.message))
    }

    /// Removes from a multipath route the hops over one link; the others lead on without a break.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn delete_hops(&mut self, route: &Route, link: u32) -> Result<(), NetlinkError> {
        match route.family {
            // The kernel takes each IPv6 hop out for itself.
            Family::V6 => self.remove(
                Family::V6,
                message::deletion(&message::with_hops(&route.message, |hop| hop == link)),
            ),
            // IPv4 knows the route only as a whole: a second one without the hops is put behind it.
            Family::V4 => {
                self.exchange.request(
                    "shorten an IPv4 default route",
                    RouteNetlinkMessage::NewRoute(message::with_hops(&route.message, |hop| {
                        hop != link
                    })),
                    NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND,
                )?;
                self.delete(route)
            }
        }
    }

    fn remove(&mut self, family: Family, message: RouteMessage) -> Result<(), NetlinkError> {
        let removed = self.exchange.request(
            &format!("remove an {family} default route"),
            RouteNetlinkMessage::DelRoute(message),
            NLM_F_ACK,
        );
        match removed {
            Err(error) if error.errno() == Some(nix::libc::ESRCH) => Ok(()),
            other => other,
        }
    }
}

fn of_kind(kind: &str) -> LinkAttribute {
    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Other(kind.to_owned()))])
}
