//! Changes of links: taking one away, taking one down, giving one a name.

use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use super::{Netlink, NetlinkError};

impl Netlink {
    /// Removes a link. Physical ones cannot be removed.
    ///
    /// # Errors
    /// All of [`NetlinkError`] but `Open`.
    pub fn delete_link(&mut self, index: u32) -> Result<(), NetlinkError> {
        let request = RouteNetlinkMessage::DelLink(about(index));
        self.exchange.tell("remove a link", request, NLM_F_ACK)
    }

    /// Takes a link down and gives it a name: one that is up keeps its own in older kernels.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with EEXIST if another link has the name; others as they are documented.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<(), NetlinkError> {
        let mut request = about(index);
        request.header.change_mask = LinkFlags::Up;
        let request = RouteNetlinkMessage::SetLink(request);
        self.exchange.tell("take a link down", request, NLM_F_ACK)?;
        let mut request = about(index);
        let name = name.to_owned();
        let what = format!("give a link the name {name}");
        request.attributes.push(LinkAttribute::IfName(name));
        let request = RouteNetlinkMessage::SetLink(request);
        self.exchange.tell(&what, request, NLM_F_ACK)
    }
}

fn about(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}
