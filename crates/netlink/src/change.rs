//! Changes of existing links.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, InfoBridgePort, InfoPortData, InfoPortKind,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, NetlinkError};

/// What is to become of a link. What is absent stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkChange<'a> {
    /// Its name, 1 to 15 bytes.
    pub name: Option<&'a str>,
    /// What is written about it (IFLA_IFALIAS); empty: nothing.
    pub alias: Option<&'a str>,
    /// Its hardware address.
    pub mac: Option<&'a [u8]>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// The length of its transmit queue in packets.
    pub tx_queue: Option<u32>,
    /// The index of the bridge, bond or vrf that it becomes a port of; 0: of none.
    pub controller: Option<u32>,
    /// The group that it is one of (IFLA_GROUP).
    pub group: Option<u32>,
    /// The network namespace that it is moved to.
    pub namespace: Option<BorrowedFd<'a>>,
    /// Whether it is set up.
    pub is_up: Option<bool>,
    /// Whether it takes every frame (IFF_PROMISC).
    pub is_promiscuous: Option<bool>,
    /// Whether it takes every multicast frame (IFF_ALLMULTI).
    pub is_all_multicast: Option<bool>,
}

/// A VLAN of a port of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortVlan {
    /// The VLAN, 1 to 4094.
    pub id: u16,
    /// Whether frames without a tag get this VLAN (PVID), and leave without a tag.
    pub is_native: bool,
}

impl LinkChange<'_> {
    fn message(&self, index: u32) -> LinkMessage {
        let mut message = about(index);
        let flags = [
            (LinkFlags::Up, self.is_up),
            (LinkFlags::Promisc, self.is_promiscuous),
            (LinkFlags::Allmulti, self.is_all_multicast),
        ];
        for (flag, wanted) in flags {
            message.header.change_mask.set(flag, wanted.is_some());
            message.header.flags.set(flag, wanted == Some(true));
        }
        let attributes = &mut message.attributes;
        attributes.extend(self.name.map(|name| LinkAttribute::IfName(name.to_owned())));
        attributes.extend(
            self.alias
                .map(|alias| LinkAttribute::IfAlias(alias.to_owned())),
        );
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes.extend(self.tx_queue.map(LinkAttribute::TxQueueLen));
        attributes.extend(self.controller.map(LinkAttribute::Controller));
        attributes.extend(self.group.map(LinkAttribute::Group));
        let namespace = self.namespace.map(|fd| fd.as_raw_fd());
        attributes.extend(namespace.map(LinkAttribute::NetNsFd));
        message
    }
}

impl Netlink {
    /// Changes a link; `doing` says in errors what was being done, for example `set eth0 up`.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with ENODEV if the link does not exist, with EEXIST if another link has the name; others
    /// as they are documented.
    pub fn change(
        &mut self,
        doing: &str,
        index: u32,
        change: &LinkChange<'_>,
    ) -> Result<(), NetlinkError> {
        let request = RouteNetlinkMessage::SetLink(change.message(index));
        self.exchange.request(doing, request, NLM_F_ACK)
    }

    /// Whether a port of a bridge sends frames back to where they came from (`hairpin`), and whether it is kept from other
    /// such ports (`isolated`).
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn set_bridge_port(
        &mut self,
        index: u32,
        hairpin: bool,
        isolated: bool,
    ) -> Result<(), NetlinkError> {
        let mut request = about(index);
        // RTM_SETLINK leaves out what belongs to a kind (do_setlink, net/core/rtnetlink.c).
        let options = vec![
            InfoBridgePort::HairpinMode(hairpin),
            InfoBridgePort::Isolated(isolated),
        ];
        request.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(options)),
        ]));
        let request = RouteNetlinkMessage::NewLink(request);
        self.exchange
            .request("set up a port of a bridge", request, NLM_F_ACK)
    }

    /// Gives a port of a bridge a VLAN.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn add_port_vlan(&mut self, index: u32, vlan: PortVlan) -> Result<(), NetlinkError> {
        let request = RouteNetlinkMessage::SetLink(of_vlan(index, vlan));
        let doing = format!("give a port of a bridge VLAN {}", vlan.id);
        self.exchange.request(&doing, request, NLM_F_ACK)
    }

    /// Takes a VLAN from a port of a bridge. A VLAN that the port does not have is no error.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn remove_port_vlan(&mut self, index: u32, id: u16) -> Result<(), NetlinkError> {
        let is_native = false;
        let request = RouteNetlinkMessage::DelLink(of_vlan(index, PortVlan { id, is_native }));
        let doing = format!("take VLAN {id} from a port of a bridge");
        match self.exchange.request(&doing, request, NLM_F_ACK) {
            Err(error) if error.errno() == Some(nix::libc::ENOENT) => Ok(()),
            done => done,
        }
    }

    /// Removes a link. Physical ones cannot be removed.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn delete_link(&mut self, index: u32) -> Result<(), NetlinkError> {
        let request = RouteNetlinkMessage::DelLink(about(index));
        self.exchange.request("remove a link", request, NLM_F_ACK)
    }

    /// Removes all links of a group at once: the kernel waits once for all of them. None is removed if one of them cannot
    /// be.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with ENODEV if the group has no link; others as they are documented.
    pub fn delete_group(&mut self, group: u32) -> Result<(), NetlinkError> {
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::Group(group));
        let request = RouteNetlinkMessage::DelLink(request);
        let doing = "remove the links of a group";
        self.exchange.request(doing, request, NLM_F_ACK)
    }

    /// Sets a link down and renames it: older kernels refuse to rename a link that is up.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with EEXIST if another link has the name; others as they are documented.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<(), NetlinkError> {
        let down = LinkChange {
            is_up: Some(false),
            ..LinkChange::default()
        };
        self.change("set a link down", index, &down)?;
        let named = LinkChange {
            name: Some(name),
            ..LinkChange::default()
        };
        self.change(&format!("rename a link to {name}"), index, &named)
    }
}

fn about(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn of_vlan(index: u32, vlan: PortVlan) -> LinkMessage {
    let mut message = about(index);
    message.header.interface_family = AddressFamily::Bridge;
    let native = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
    let flags = match vlan.is_native {
        true => native,
        false => BridgeVlanInfoFlags::empty(),
    };
    let vlan = BridgeVlanInfo {
        flags,
        vid: vlan.id,
    };
    let vlan = AfSpecBridge::VlanInfo(vlan);
    message
        .attributes
        .push(LinkAttribute::AfSpecBridge(vec![vlan]));
    message
}
