//! Changes of links and addresses, as the kernel announces them (rtnetlink(7), multicast groups): to wait for a state without
//! asking again and again.

use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::NetlinkError;
use super::exchange::uninterrupted;

/// RTMGRP_LINK, linux/rtnetlink.h.
const LINKS: u32 = 0x1;
/// RTMGRP_IPV6_IFADDR, linux/rtnetlink.h.
const IPV6_ADDRESSES: u32 = 0x100;
/// More than any one message of these groups has; what is cut off is not read.
const MESSAGE_BYTES: usize = 8 * 1024;
const MILLISECOND: Duration = Duration::from_millis(1);

/// What the kernel announces in the namespace that the thread was in when this was opened.
pub struct Events {
    socket: Socket,
}

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Links that are made, removed or changed.
    Links,
    /// IPv6 addresses that are added, removed or changed: also the end of duplicate detection.
    Ipv6Addresses,
}

impl Events {
    /// Opens the announcements of a topic: what happens from now on.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn open(topic: Topic) -> Result<Events, NetlinkError> {
        let groups = match topic {
            Topic::Links => LINKS,
            Topic::Ipv6Addresses => IPV6_ADDRESSES,
        };
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, groups))?;
            Ok(Events { socket })
        };
        open().map_err(|source| NetlinkError::Open { source })
    }

    /// Waits until something was announced since the last call, and forgets what it was. Returns false if nothing was at
    /// `deadline`. What was lost for want of room counts as announced.
    ///
    /// # Errors
    /// [`NetlinkError::Exchange`].
    pub fn wait(&mut self, deadline: Instant) -> Result<bool, NetlinkError> {
        let failed = |source| NetlinkError::Exchange {
            operation: "wait for a change".to_owned(),
            source,
        };
        let ready = uninterrupted(|| {
            // In whole milliseconds, rounded up.
            let left = deadline.saturating_duration_since(Instant::now()) + MILLISECOND;
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut polled = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            poll(&mut polled, timeout).map_err(io::Error::from)
        });
        if ready.map_err(failed)? == 0 {
            return Ok(false);
        }
        let mut buffer = Vec::with_capacity(MESSAGE_BYTES);
        match uninterrupted(|| self.socket.recv(&mut buffer, 0)) {
            Err(error) if error.raw_os_error() != Some(nix::libc::ENOBUFS) => Err(failed(error)),
            _ => Ok(true),
        }
    }
}
