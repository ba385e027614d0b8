//! Requests about a target.

use proto::ipam::v1 as ipam;

use crate::security::roles::scene::Target;

pub(super) fn owner(target: &Target) -> ipam::Owner {
    ipam::Owner {
        namespace: "default".to_owned(),
        pod: target.container.clone(),
        container_id: target.container.clone(),
        ifname: "net1".to_owned(),
        network: target.network.clone(),
        ..ipam::Owner::default()
    }
}

/// The request that the target's lease came of.
pub(super) fn allocation(target: &Target) -> ipam::AllocateRequest {
    ipam::AllocateRequest {
        pools: vec!["blue".to_owned()],
        owner: Some(owner(target)),
        ..ipam::AllocateRequest::default()
    }
}

pub(super) fn filter(target: &Target) -> String {
    format!("owner.container_id=\"{}\"", target.container)
}

pub(super) fn pool(name: &str) -> ipam::Pool {
    e2e::ipam::pool(name, "10.200.0.0/24", "")
}

/// A reservation that nobody has yet.
pub(super) fn reservation(target: &Target) -> ipam::Reservation {
    ipam::Reservation {
        name: format!("new-{}", target.container),
        pool: "spare".to_owned(),
        ipv4: "10.1.2.3".to_owned(),
        identity: Some(ipam::Identity {
            namespace: "default".to_owned(),
            pod: "other".to_owned(),
            ..ipam::Identity::default()
        }),
        ..ipam::Reservation::default()
    }
}
