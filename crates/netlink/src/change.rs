//! Changes of links: removing a link, renaming a link.

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
        self.exchange.request("remove a link", request, NLM_F_ACK)
    }

    /// Sets a link down and renames it: older kernels refuse to rename a link that is up.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with EEXIST if another link has the name; others as they are documented.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<(), NetlinkError> {
        let mut request = about(index);
        request.header.change_mask = LinkFlags::Up;
        let request = RouteNetlinkMessage::SetLink(request);
        self.exchange
            .request("set a link down", request, NLM_F_ACK)?;
        let mut request = about(index);
        let name = name.to_owned();
        let what = format!("rename a link to {name}");
        request.attributes.push(LinkAttribute::IfName(name));
        let request = RouteNetlinkMessage::SetLink(request);
        self.exchange.request(&what, request, NLM_F_ACK)
    }
}

fn about(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}
