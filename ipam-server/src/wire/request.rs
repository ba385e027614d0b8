//! Requests, checked as a whole: an error names everything that is wrong.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipam_core::allocator::adopt::ReportedLease;
use ipam_core::allocator::orphans::{LEAST_GRACE, Reclaim};
use ipam_core::error::Error as Refusal;
use ipam_core::family::Family;
use ipam_core::lease::{LeaseId, Owner, Requested};
use ipam_core::log::StoreMark;
use ipam_core::pool::Families;
use ipam_core::request::{Attachments, Inventory, Question, Wish, is_attachment};
use ipam_core::reservation::Reservation;
use proto::ipam::v1 as ipam;

use super::problems::Problems;
use super::{lease, reservation, shared};

/// Pools that a request may name.
const POOLS: usize = 16;
/// Bytes of a field of an owner.
const OWNER_FIELD: usize = 253;

/// What an Allocate asks for; `at` is its path in the message (`` or `requests[3].`).
///
/// # Errors
/// [`Refusal::InvalidAttachment`], or [`Refusal::InvalidFields`] with everything that is wrong.
pub fn wish(request: ipam::AllocateRequest, at: &str) -> Result<Wish, Refusal> {
    let mut problems = Problems::default();
    if request.pools.is_empty() {
        problems.add(format!("{at}pools"), "name at least one pool");
    }
    if request.pools.len() > POOLS {
        problems.add(format!("{at}pools"), format!("at most {POOLS} are tried"));
    }
    let mut owner = lease::decode_owner(request.owner.unwrap_or_default());
    if owner == Owner::NONE && request.request_id.is_empty() {
        problems.add(
            format!("{at}owner"),
            "name the owner: an attachment, a pod, a claim or any other field",
        );
    }
    check_owner(&owner, &format!("{at}owner"), &mut problems);
    for (name, value) in owner.fields() {
        problems.plain(&format!("{at}owner.{name}"), value);
    }
    if owner.kind.is_empty() && !owner.pod.is_empty() {
        "pod".clone_into(&mut owner.kind);
    }
    let ips = ips(&request.ips, at, &mut problems);
    let families = families(request.families_required, &ips, at, &mut problems);
    let ttl = problems.duration(&format!("{at}ttl"), request.ttl.as_ref());
    problems.labels(&format!("{at}labels"), &request.labels);
    problems.plain_labels(&format!("{at}labels"), &request.labels);
    let mac = problems.mac(&format!("{at}mac"), &request.mac);
    problems.request_id(&format!("{at}request_id"), &request.request_id);
    problems.plain(&format!("{at}request_id"), &request.request_id);
    problems.into_result()?;
    is_attachment(&owner)?;
    Ok(Wish {
        owner: Arc::new(owner),
        requested: Arc::new(Requested {
            id: request.request_id,
            ips,
            pools: request.pools,
            families,
        }),
        mac: shared(mac),
        ttl: ttl.filter(|ttl| !ttl.is_zero()),
        labels: Arc::new(request.labels),
    })
}

/// The addresses of a request, IPv4 first; the prefix length counts for nothing.
fn ips(texts: &[String], at: &str, problems: &mut Problems) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let field = format!("{at}ips[{index}]");
        let (plain, prefix) = match text.split_once('/') {
            Some((plain, prefix)) => (plain, Some(prefix)),
            None => (text.as_str(), None),
        };
        let Some(address) = problems.address(&field, plain, None) else {
            continue;
        };
        let family = Family::of(address);
        let bits = match family {
            Family::V4 => 32,
            Family::V6 => 128,
        };
        if let Some(prefix) = prefix
            && !prefix.parse::<u8>().is_ok_and(|prefix| prefix <= bits)
        {
            problems.add(
                &field,
                format!("{text:?} has no prefix length from 0 to {bits}"),
            );
        }
        if ips.iter().any(|&other| Family::of(other) == family) {
            problems.add(field, format!("is a second {family} address"));
        }
        ips.push(address);
    }
    ips.sort_by_key(|&address| Family::of(address));
    ips
}

/// The families of a request, which must not contradict its addresses.
fn families(message: i32, ips: &[IpAddr], at: &str, problems: &mut Problems) -> Option<Families> {
    let field = format!("{at}families_required");
    let families = ipam::FamiliesRequired::try_from(message);
    problems.known(&field, families.is_ok());
    let families = families.ok().and_then(lease::decode_families);
    let names = |family| ips.iter().any(|&ip| Family::of(ip) == family);
    match families {
        Some(Families::One(Family::V4)) if names(Family::V6) => {
            problems.add(field, "V4 contradicts the IPv6 address in ips");
        }
        Some(Families::One(Family::V6)) if names(Family::V4) => {
            problems.add(field, "V6 contradicts the IPv4 address in ips");
        }
        _ => {}
    }
    families
}

/// Fields of an owner have a bounded size.
pub(super) fn check_owner(owner: &Owner, at: &str, problems: &mut Problems) {
    for (name, value) in owner.fields() {
        if value.len() > OWNER_FIELD {
            let problem = format!("is longer than {OWNER_FIELD} bytes");
            problems.add(format!("{at}.{name}"), problem);
        }
    }
}

/// The number that a request names a lease by.
///
/// # Errors
/// [`Refusal::LeaseNotFound`] if no lease has such an id.
pub fn lease_id(id: &str) -> Result<LeaseId, Refusal> {
    id.parse()
        .map_err(|()| Refusal::LeaseNotFound { id: id.to_owned() })
}

/// The attachment that a request names.
///
/// # Errors
/// [`Refusal::InvalidFields`] if a name is empty.
pub fn attachment(request: ipam::ReleaseAttachmentRequest) -> Result<Owner, Refusal> {
    let mut problems = Problems::default();
    problems.present("network", &request.network);
    problems.present("container_id", &request.container_id);
    problems.present("ifname", &request.ifname);
    problems.into_result()?;
    Ok(Owner {
        network: request.network,
        container_id: request.container_id,
        ifname: request.ifname,
        ..Owner::NONE
    })
}

/// The time that a request wants a lease to last.
///
/// # Errors
/// [`Refusal::InvalidFields`].
pub fn ttl(ttl: Option<&pbjson_types::Duration>) -> Result<Option<Duration>, Refusal> {
    let mut problems = Problems::default();
    let ttl = problems.duration("ttl", ttl);
    problems.into_result()?;
    Ok(ttl.filter(|ttl| !ttl.is_zero()))
}

/// What a ReleaseUnlisted lists.
///
/// # Errors
/// [`Refusal::InvalidFields`] if network or node is empty, or an attachment is not whole.
pub fn inventory(request: ipam::ReleaseUnlistedRequest) -> Result<Inventory, Refusal> {
    let mut problems = Problems::default();
    for (field, value) in [("network", &request.network), ("node", &request.node)] {
        if value.is_empty() {
            problems.add(
                field,
                "must not be empty: only leases of this network and node end",
            );
        }
    }
    for (index, one) in request.attachments.iter().enumerate() {
        if one.container_id.is_empty() || one.ifname.is_empty() {
            problems.add(
                format!("attachments[{index}]"),
                "must name container_id and ifname; with a wrong list nothing ends",
            );
        }
    }
    problems.into_result()?;
    Ok(Inventory {
        network: request.network,
        node: request.node,
        attachments: attachments(request.attachments),
    })
}

/// What a ReclaimOrphans asks.
///
/// # Errors
/// [`Refusal::InvalidFields`] for a grace period that is too short.
pub fn reclaim(request: ipam::ReclaimOrphansRequest) -> Result<Reclaim, Refusal> {
    let mut problems = Problems::default();
    let grace = problems.duration("grace", request.grace.as_ref());
    if grace.is_some_and(|grace| grace < LEAST_GRACE) {
        let seconds = LEAST_GRACE.as_secs();
        problems.add("grace", format!("must be at least {seconds}s"));
    }
    problems.into_result()?;
    Ok(Reclaim {
        inventory: Inventory {
            network: request.network,
            node: request.node,
            attachments: attachments(request.attachments),
        },
        grace: grace.unwrap_or(LEAST_GRACE),
        validate_only: request.validate_only,
    })
}

fn attachments(attachments: Vec<ipam::Attachment>) -> Attachments {
    let attachments = attachments.into_iter();
    attachments.map(|at| (at.container_id, at.ifname)).collect()
}

/// What a node reports of an attachment.
///
/// # Errors
/// As [`wish`]; [`Refusal::InvalidFields`] if it is no attachment or has no address.
pub fn reported(message: ipam::HeldLease) -> Result<ReportedLease, Refusal> {
    let request = message.request.unwrap_or_default();
    let asked = wish(request.clone(), "request.")?;
    let ips = message.ips;
    let has = wish(ipam::AllocateRequest { ips, ..request }, "")?;
    if has.owner.container_id.is_empty() {
        return Err(Refusal::field("request.owner", "must be an attachment"));
    }
    if !has.names_addresses() {
        return Err(Refusal::field("ips", "must not be empty"));
    }
    Ok(ReportedLease { asked, has })
}

/// What a Lookup asks.
///
/// # Errors
/// [`Refusal::InvalidFields`].
pub fn question(
    address: &str,
    vrf: String,
    owner: Option<ipam::Owner>,
    mac: &str,
) -> Result<Question, Refusal> {
    let mut problems = Problems::default();
    let is_asked = !address.is_empty();
    let address = is_asked.then(|| problems.address("address", address, None));
    let mac = problems.mac("mac", mac);
    let owner = lease::decode_owner(owner.unwrap_or_default());
    if !is_asked && mac.is_empty() && owner == Owner::NONE {
        problems.add("address", "set an address, an owner or a mac");
    }
    problems.into_result()?;
    Ok(Question {
        address: address.flatten(),
        vrf,
        owner,
        mac,
    })
}

/// The reservation of a request, in canonical form.
///
/// # Errors
/// [`Refusal::InvalidFields`] with everything that is wrong.
pub fn reservation(message: ipam::Reservation) -> Result<Reservation, Refusal> {
    let mut problems = Problems::default();
    problems.name("reservation.name", &message.name);
    let mut address = |field: &str, text: &str, family| match text.is_empty() {
        true => None,
        false => problems.address(field, text, Some(family)),
    };
    let ipv4 = address("reservation.ipv4", &message.ipv4, Family::V4);
    let ipv6 = address("reservation.ipv6", &message.ipv6, Family::V6);
    if message.ipv4.is_empty() && message.ipv6.is_empty() {
        problems.add("reservation.ipv4", "a reservation needs ipv4 or ipv6");
    }
    let mut identity = reservation::decode_identity(message.identity.unwrap_or_default());
    identity.mac = problems.mac("reservation.identity.mac", &identity.mac);
    if identity.pod.is_empty() && identity.claim.is_empty() && identity.mac.is_empty() {
        problems.add("reservation.identity", "needs a pod, a claim or a mac");
    }
    if !identity.pod.is_empty() && identity.namespace.is_empty() {
        problems.add("reservation.identity.namespace", "is needed with a pod");
    }
    problems.labels("reservation.labels", &message.labels);
    problems.into_result()?;
    Ok(Reservation {
        name: shared(message.name),
        pool: shared(message.pool),
        ipv4: ipv4.and_then(|ip| match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        }),
        ipv6: ipv6.and_then(|ip| match ip {
            IpAddr::V6(ip) => Some(ip),
            IpAddr::V4(_) => None,
        }),
        identity,
        labels: message.labels,
        create_time: None,
    })
}

/// The store that a caller knows.
pub fn store_mark(mark: ipam::StoreMark) -> StoreMark {
    StoreMark {
        id: mark.id,
        revision: mark.revision,
        proof: mark.proof,
    }
}
