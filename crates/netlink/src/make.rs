//! New links: each with its final name, hardware address, MTU and namespace, in one request.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoVeth, InfoVlan, InfoVrf,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
pub use netlink_packet_route::link::{IpVlanFlags, IpVlanMode, MacVlanMode};

use super::{Netlink, NetlinkError};

/// A link that is to be made. What is absent is the kernel's choice.
#[derive(Clone, Copy, Debug)]
pub struct NewLink<'a> {
    /// Its name, 1 to 15 bytes.
    pub name: &'a str,
    /// What it is.
    pub kind: NewKind<'a>,
    /// Its hardware address.
    pub mac: Option<&'a [u8]>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// The length of its transmit queue in packets.
    pub tx_queue: Option<u32>,
    /// The index of the link that it stands on (IFLA_LINK), in the namespace of the connection.
    pub parent: Option<u32>,
    /// The index of the bridge, bond or vrf that it becomes a port of, in the link's namespace.
    pub controller: Option<u32>,
    /// The network namespace that it is made in; that of the connection if absent.
    pub namespace: Option<BorrowedFd<'a>>,
    /// Whether it is set up.
    pub is_up: bool,
}

/// The kind of a new link, with what only this kind has.
#[derive(Clone, Copy, Debug)]
pub enum NewKind<'a> {
    /// A bridge.
    Bridge {
        /// Whether frames are filtered by their VLAN.
        vlan_filtering: bool,
    },
    /// One end of a pair.
    Veth {
        /// The other end; its kind is not read.
        peer: &'a NewLink<'a>,
    },
    /// The other end of a pair.
    Peer,
    /// A link with a hardware address of its own on a parent.
    Macvlan {
        /// Who may speak to whom.
        mode: MacVlanMode,
        /// How many packets of broadcasts may wait (IFLA_MACVLAN_BC_QUEUE_LEN).
        broadcast_queue: Option<u32>,
    },
    /// A link with the hardware address of its parent.
    Ipvlan {
        /// At which layer frames are given to it.
        mode: IpVlanMode,
        /// Who may speak to whom.
        flags: IpVlanFlags,
    },
    /// A link for the frames of a parent that have this VLAN.
    Vlan {
        /// The VLAN, 0 to 4094.
        id: u16,
    },
    /// A link that leads nowhere.
    Dummy,
    /// A routing domain.
    Vrf {
        /// Its routing table.
        table: u32,
    },
}

impl<'a> NewLink<'a> {
    /// A link of which nothing else is asked.
    pub fn new(name: &'a str, kind: NewKind<'a>) -> NewLink<'a> {
        NewLink {
            name,
            kind,
            mac: None,
            mtu: None,
            tx_queue: None,
            parent: None,
            controller: None,
            namespace: None,
            is_up: false,
        }
    }

    fn message(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        if self.is_up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        let attributes = &mut message.attributes;
        attributes.push(LinkAttribute::IfName(self.name.to_owned()));
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes.extend(self.tx_queue.map(LinkAttribute::TxQueueLen));
        attributes.extend(self.parent.map(LinkAttribute::Link));
        attributes.extend(self.controller.map(LinkAttribute::Controller));
        let namespace = self.namespace.map(|fd| fd.as_raw_fd());
        attributes.extend(namespace.map(LinkAttribute::NetNsFd));
        if let Some(info) = self.kind.info() {
            attributes.push(LinkAttribute::LinkInfo(info));
        }
        message
    }
}

impl NewKind<'_> {
    fn info(&self) -> Option<Vec<LinkInfo>> {
        let (kind, data) = match self {
            NewKind::Bridge { vlan_filtering } => {
                let filtering = vlan_filtering.then_some(InfoBridge::VlanFiltering(true));
                let data = filtering.map(|one| InfoData::Bridge(vec![one]));
                (InfoKind::Bridge, data)
            }
            NewKind::Veth { peer } => {
                let peer = InfoVeth::Peer(peer.message());
                (InfoKind::Veth, Some(InfoData::Veth(peer)))
            }
            NewKind::Peer => return None,
            NewKind::Macvlan {
                mode,
                broadcast_queue,
            } => {
                let mut data = vec![InfoMacVlan::Mode(*mode)];
                data.extend(broadcast_queue.map(InfoMacVlan::BcQueueLen));
                (InfoKind::MacVlan, Some(InfoData::MacVlan(data)))
            }
            NewKind::Ipvlan { mode, flags } => {
                let data = vec![InfoIpVlan::Mode(*mode), InfoIpVlan::Flags(*flags)];
                (InfoKind::IpVlan, Some(InfoData::IpVlan(data)))
            }
            NewKind::Vlan { id } => {
                let data = vec![InfoVlan::Id(*id)];
                (InfoKind::Vlan, Some(InfoData::Vlan(data)))
            }
            NewKind::Dummy => (InfoKind::Dummy, None),
            NewKind::Vrf { table } => {
                let data = vec![InfoVrf::TableId(*table)];
                (InfoKind::Vrf, Some(InfoData::Vrf(data)))
            }
        };
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        Some(info)
    }
}

impl Netlink {
    /// Makes a link.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with EEXIST if a link of its name exists, with EOPNOTSUPP if the kernel does not know its
    /// kind, with ENODEV if its parent does not exist; others as they are documented.
    pub fn make(&mut self, link: &NewLink<'_>) -> Result<(), NetlinkError> {
        self.exchange.request(
            &format!("make the interface {}", link.name),
            RouteNetlinkMessage::NewLink(link.message()),
            NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        )
    }
}

#[cfg(test)]
mod tests;
