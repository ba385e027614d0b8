//! The wait for duplicate address detection (RFC 4862 §5.4) of all addresses of a pod at once.

use std::net::Ipv6Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netlink::{Detection, Netlink, NetlinkError};

/// How often the kernel is asked. Detection takes from one second on.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// An address that is to become usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) network: String,
    pub(super) ifname: String,
    /// The index of the link.
    pub(super) link: u32,
    /// Without a carrier, detection does not begin.
    pub(super) has_carrier: bool,
    pub(super) address: Ipv6Addr,
}

/// Waits up to `limit` until none of `candidates` is tentative; returns one that another host has, as soon as it shows.
/// An address that is not there is nobody's business here.
///
/// # Errors
/// [`NetlinkError`] if the kernel does not answer.
pub(super) fn wait(
    netlink: &mut Netlink,
    candidates: Vec<Candidate>,
    limit: Duration,
) -> Result<Option<Candidate>, NetlinkError> {
    let end = Instant::now() + limit;
    let mut waiting = candidates;
    loop {
        let mut pending = Vec::new();
        for candidate in waiting {
            match netlink.detection(candidate.link, candidate.address)? {
                Some(Detection::Failed) => return Ok(Some(candidate)),
                Some(Detection::Pending) if candidate.has_carrier => pending.push(candidate),
                Some(Detection::Pending) => warn(&candidate, "its interface has no carrier"),
                Some(Detection::Done) | None => {}
            }
        }
        if pending.is_empty() {
            return Ok(None);
        }
        if Instant::now() >= end {
            for candidate in &pending {
                warn(candidate, "dadTimeoutSeconds are over");
            }
            return Ok(None);
        }
        waiting = pending;
        sleep(POLL_INTERVAL);
    }
}

fn warn(candidate: &Candidate, why: &str) {
    let Candidate {
        network,
        ifname,
        address,
        ..
    } = candidate;
    tracing::warn!(
        network,
        ifname,
        %address,
        "an IPv6 address cannot be used yet (duplicate address detection is not over): {why}"
    );
}
