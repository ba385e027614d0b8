//! A line in the log for each change: what happened, who asked, and which lease, pool or reservation it is about.

use std::sync::Arc;

use ipam_core::allocator::restore::names;
use ipam_core::event::{Change, Event};
use ipam_core::lease::Owner;
use ipam_core::log::OriginChange;

use crate::wire::event::encode_type;

/// What the line of an event says. It is made before the event is gone, and logged when it is durable.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    what: &'static str,
    revision: u64,
    actor: Arc<str>,
    subject: String,
    pool: Arc<str>,
    owner: String,
    ips: String,
}

impl Line {
    /// The line of an event.
    pub fn of(event: &Event) -> Line {
        let mut line = Line {
            what: encode_type(event.kind).as_str_name(),
            revision: event.revision,
            actor: event.actor.clone(),
            subject: String::new(),
            pool: Arc::default(),
            owner: String::new(),
            ips: String::new(),
        };
        match &event.change {
            Change::Lease(sides) => {
                if let Some(lease) = sides.newest() {
                    line.subject = format!("lease {}", lease.id);
                    line.pool = lease.pool.clone();
                    line.owner = owner(lease.owner());
                    let ipv4 = lease.ipv4.map(|ip| ip.to_string());
                    let ipv6 = lease.ipv6.map(|ip| ip.to_string());
                    let ips: Vec<_> = ipv4.into_iter().chain(ipv6).collect();
                    line.ips = ips.join(",");
                }
            }
            Change::Pool(sides) => {
                if let Some(pool) = sides.newest() {
                    line.subject = format!("pool {}", pool.name);
                }
            }
            Change::Reservation(sides) => {
                if let Some(reservation) = sides.newest() {
                    line.subject = format!("reservation {}", reservation.name);
                    line.pool = reservation.pool.clone();
                }
            }
        }
        line
    }

    /// Writes it.
    pub fn log(&self) {
        tracing::info!(
            change = self.what,
            revision = self.revision,
            actor = &*self.actor,
            subject = self.subject,
            pool = &*self.pool,
            ips = self.ips,
            owner = self.owner,
            "changed"
        );
    }
}

/// Who holds a lease, in a word or two.
fn owner(owner: &Owner) -> String {
    let attachment = match owner.container_id.as_str() {
        "" => String::new(),
        container => format!(" {container}/{}", owner.ifname),
    };
    match (owner.pod.as_str(), owner.claim.as_str()) {
        ("", claim) => format!("{claim}{attachment}").trim().to_owned(),
        (pod, _) => format!("{}/{pod}{attachment}", owner.namespace),
    }
}

/// Logs a durable change of which store it is, or whose reports it waits for.
pub fn log_origin(change: &OriginChange) {
    let after = &change.after;
    let Some(before) = change.before.as_ref() else {
        return;
    };
    let is_new = before.id != after.id;
    if is_new && after.awaited.is_empty() {
        tracing::warn!(store = after.id, "the store was restored");
    } else if after
        .awaited
        .iter()
        .any(|node| !before.awaited.contains(node))
    {
        tracing::warn!(
            store = after.id,
            nodes = names(after),
            "the store was restored: no new lease before these nodes have reported what they hold, or the wait \
             (--restore-wait-seconds) is over"
        );
    } else if !before.awaited.is_empty() && after.awaited.is_empty() {
        match before.awaited.iter().all(|node| after.heard.contains(node)) {
            true => tracing::info!(
                store = after.id,
                "every node has reported what it holds: leases are made"
            ),
            false => tracing::warn!(
                store = after.id,
                nodes = names(before),
                "leases are made although these nodes have not reported what they hold"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use ipam_core::event::EventType;
    use ipam_core::lease::{Lease, LeaseId};

    use super::*;

    #[test]
    fn a_line_says_who_did_what_to_which_lease() {
        let lease = Lease {
            id: LeaseId(7),
            pool: "blue".into(),
            ipv4: "10.0.0.7/24".parse().ok(),
            owner: Some(Arc::new(Owner {
                namespace: "ns".into(),
                pod: "web".into(),
                container_id: "c1".into(),
                ifname: "net1".into(),
                ..Owner::NONE
            })),
            ..Lease::default()
        };
        let line = Line::of(&Event {
            revision: 9,
            kind: EventType::Released,
            actor: "uid:0".into(),
            change: Change::lease(Some(Arc::new(lease)), None),
            ..Event::default()
        });
        let expected = Line {
            what: "RELEASED",
            revision: 9,
            actor: "uid:0".into(),
            subject: "lease l7".into(),
            pool: "blue".into(),
            owner: "ns/web c1/net1".into(),
            ips: "10.0.0.7/24".into(),
        };
        assert_eq!(line, expected);
    }
}
