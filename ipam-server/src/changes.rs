//! A line in the log for each change: what happened, who asked, and which lease, pool or reservation it is about.

use proto::ipam::v1::{self as ipam, subject};

/// What the line of an event says. It is made before the event is gone, and logged when it is durable.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    what: &'static str,
    revision: u64,
    actor: String,
    subject: String,
    pool: String,
    owner: String,
    ips: String,
}

impl Line {
    /// The line of an event.
    pub fn of(event: &ipam::Event) -> Line {
        let subject = event.after.as_ref().or(event.before.as_ref());
        let mut line = Line {
            what: event.r#type().as_str_name(),
            revision: event.revision,
            actor: event.actor.clone(),
            subject: String::new(),
            pool: String::new(),
            owner: String::new(),
            ips: String::new(),
        };
        match subject.and_then(|subject| subject.subject.as_ref()) {
            Some(subject::Subject::Lease(lease)) => {
                line.subject = format!("lease {}", lease.id);
                line.pool.clone_from(&lease.pool);
                line.owner = lease.owner.as_ref().map(owner).unwrap_or_default();
                let ips = [lease.ipv4.as_str(), lease.ipv6.as_str()];
                let ips = ips.into_iter().filter(|ip| !ip.is_empty());
                line.ips = ips.collect::<Vec<_>>().join(",");
            }
            Some(subject::Subject::Pool(pool)) => line.subject = format!("pool {}", pool.name),
            Some(subject::Subject::Reservation(kept)) => {
                line.subject = format!("reservation {}", kept.name);
                line.pool.clone_from(&kept.pool);
            }
            None => {}
        }
        line
    }

    /// Writes it.
    pub fn log(&self) {
        tracing::info!(
            change = self.what,
            revision = self.revision,
            actor = self.actor,
            subject = self.subject,
            pool = self.pool,
            ips = self.ips,
            owner = self.owner,
            "changed"
        );
    }
}

/// Who holds a lease, in a word or two.
fn owner(owner: &ipam::Owner) -> String {
    let attachment = match owner.container_id.as_str() {
        "" => String::new(),
        container => format!(" {container}/{}", owner.ifname),
    };
    match (owner.pod.as_str(), owner.claim.as_str()) {
        ("", claim) => format!("{claim}{attachment}").trim().to_owned(),
        (pod, _) => format!("{}/{pod}{attachment}", owner.namespace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_did_what_to_which_lease() {
        let lease = ipam::Lease {
            id: "l7".into(),
            pool: "blue".into(),
            ipv4: "10.0.0.7/24".into(),
            owner: Some(ipam::Owner {
                namespace: "ns".into(),
                pod: "web".into(),
                container_id: "c1".into(),
                ifname: "net1".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let line = Line::of(&ipam::Event {
            revision: 9,
            r#type: ipam::EventType::Released.into(),
            actor: "uid:0".into(),
            before: Some(ipam::Subject {
                subject: Some(subject::Subject::Lease(lease)),
            }),
            ..Default::default()
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
