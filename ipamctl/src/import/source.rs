//! Where an imported lease was read: the label with the source, and what a repeated import does with leases of an earlier
//! import that the source does not have any more.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proto::ipam::v1::{Lease, ReleaseRequest};

use crate::error::CliError;
use crate::lease::table::addresses;
use crate::remote::Remote;

/// The label of a lease that an import made.
pub(super) const LABEL: &str = "meta-cni.io/imported-from";

/// Where an address was read. Of two, the later one is the label of a lease with both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// A file of host-local.
    HostLocal,
    /// An allocation of an IPPool of whereabouts.
    Whereabouts,
    /// An OverlappingRangeIPReservation of whereabouts only.
    WhereaboutsReservation,
}

impl Source {
    /// The value of [`LABEL`].
    pub(super) fn name(self) -> &'static str {
        match self {
            Source::HostLocal => "host-local",
            Source::Whereabouts => "whereabouts",
            Source::WhereaboutsReservation => "whereabouts-reservation",
        }
    }
}

/// What a source holds now, to compare leases of an earlier import with.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Addresses and the containers that hold them; an empty container: not known.
    addresses: BTreeSet<(IpAddr, String)>,
    /// Addresses of entries that cannot be read: nothing is said of them.
    pub(super) doubtful: BTreeSet<IpAddr>,
    /// Containers of entries whose address cannot be read: nothing is said of what they hold.
    pub(super) doubtful_containers: BTreeSet<String>,
}

impl Holdings {
    /// Adds an address that is held. The container is empty if it is not known.
    pub(super) fn add(&mut self, address: IpAddr, container: &str) {
        self.addresses.insert((address, container.to_owned()));
    }

    /// Whether a lease is certainly over: its container holds none of its addresses.
    fn lacks(&self, lease: &Lease) -> bool {
        let container = lease.owner.as_ref().map(|owner| &owner.container_id);
        let container = container.cloned().unwrap_or_default();
        let held = |address: IpAddr| {
            self.doubtful.contains(&address)
                || self.addresses.contains(&(address, container.clone()))
                || self.addresses.contains(&(address, String::new()))
        };
        !self.doubtful_containers.contains(&container) && !addresses_of(lease).any(held)
    }
}

/// The addresses of a lease without prefix lengths.
pub(super) fn addresses_of(lease: &Lease) -> impl Iterator<Item = IpAddr> + use<> {
    [&lease.ipv4, &lease.ipv6]
        .map(|text| text.split('/').next().and_then(|plain| plain.parse().ok()))
        .into_iter()
        .flatten()
}

/// What became of leases of an earlier import that their source has no more.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// How many ended.
    pub(super) released: u64,
    /// A sentence for each one that stays.
    pub(super) stays: Vec<String>,
}

/// Ends the leases of an earlier import that `holdings` lacks, of those that `filter` keeps and the source covers.
/// What was renewed since, or changes meanwhile, is somebody's: it stays.
///
/// # Errors
/// If the server refuses, or cannot be reached.
pub(super) async fn release_gone(
    filter: String,
    covers: impl Fn(&Lease) -> bool,
    holdings: &Holdings,
    validate_only: bool,
    remote: &Remote,
) -> Result<Gone, CliError> {
    let mut gone = Gone::default();
    let mut client = remote.leases().await?;
    for lease in remote.leases_matching(filter).await? {
        if !covers(&lease) || !holdings.lacks(&lease) {
            continue;
        }
        if lease.renew_time.is_some() {
            gone.stays.push(format!(
                "lease {} ({}) is gone at its source, but was renewed: it stays",
                lease.id,
                addresses(&lease)
            ));
            continue;
        }
        let request = remote.request(ReleaseRequest {
            id: lease.id,
            generation: lease.generation,
            validate_only,
        });
        match remote.answer(client.release(request)).await {
            Ok(_) => gone.released += 1,
            Err(CliError::Refused(refusal))
                if matches!(refusal.reason(), "LEASE_NOT_FOUND" | "STALE_GENERATION") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use proto::ipam::v1::Owner;

    use super::*;

    fn lease(ipv4: &str, ipv6: &str, container: &str) -> Lease {
        Lease {
            ipv4: ipv4.to_owned(),
            ipv6: ipv6.to_owned(),
            owner: Some(Owner {
                container_id: container.to_owned(),
                ..Owner::default()
            }),
            ..Lease::default()
        }
    }

    #[test]
    fn a_lease_is_over_only_if_its_container_certainly_holds_none_of_its_addresses() {
        let mut holdings = Holdings::default();
        let address = |text: &str| text.parse().expect("an address");
        holdings.add(address("10.0.0.7"), "a");
        holdings.add(address("10.0.0.9"), "");
        holdings.doubtful.insert(address("10.0.0.50"));
        holdings.doubtful_containers.insert("lost".to_owned());
        for (name, lease, over) in [
            ("held", lease("10.0.0.7/24", "", "a"), false),
            (
                "one of two held",
                lease("10.0.0.7/24", "fd00::7/64", "a"),
                false,
            ),
            (
                "held by another container",
                lease("10.0.0.7/24", "", "b"),
                true,
            ),
            ("held by a pod", lease("10.0.0.9/24", "", "a"), false),
            (
                "held by nobody",
                lease("10.0.0.8/24", "fd00::8/64", "a"),
                true,
            ),
            (
                "its file cannot be read",
                lease("10.0.0.50/24", "", "a"),
                false,
            ),
            (
                "where its container is cannot be read",
                lease("10.0.0.8/24", "", "lost"),
                false,
            ),
        ] {
            assert_eq!(holdings.lacks(&lease), over, "{name}");
        }
    }
}
