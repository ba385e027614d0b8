//! The items of an import. What is wrong with one of them is found by itself, and reported with its name.

use std::net::IpAddr;
use std::sync::Arc;

use ipam_core::allocator::import::{Content, ImportedLease, Item, Source};
use ipam_core::error::Error as Refusal;
use ipam_core::family::Family;
use ipam_core::lease::{Lease, LeaseState, Requested};
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use pbjson_types as wkt;
use proto::ipam::v1::{self as ipam, export_item};

use super::problems::{Problems, parse_address};
use super::{lease, pool, request, shared, time};

/// The items of a message, without its header.
pub fn items(items: Vec<ipam::ExportItem>) -> Vec<Item> {
    let items = items.into_iter().filter_map(|item| item.item);
    items.filter_map(item).collect()
}

fn item(item: export_item::Item) -> Option<Item> {
    Some(match item {
        export_item::Item::Header(_) => return None,
        export_item::Item::Pool(pool) => Item {
            name: format!("pool {}", pool.name),
            content: pool::decode(pool).map(|pool| Content::Pool(Box::new(pool))),
        },
        export_item::Item::Reservation(reservation) => Item {
            name: format!("reservation {}", reservation.name),
            content: request::reservation(reservation).map(Content::Reservation),
        },
        export_item::Item::Lease(lease) => Item {
            name: name(&lease),
            content: imported_lease(lease).map(Content::Lease),
        },
    })
}

/// A lease as a sentence about it names it.
fn name(lease: &ipam::Lease) -> String {
    let none = ipam::Owner::default();
    let owner = lease.owner.as_ref().unwrap_or(&none);
    let holder = match (owner.pod.as_str(), owner.container_id.as_str()) {
        ("", "") => String::new(),
        ("", container) => format!(" of container {container}"),
        (pod, _) => format!(" of pod {}/{pod}", owner.namespace),
    };
    let names = [&lease.id, &lease.ipv4, &lease.ipv6].into_iter();
    let names: Vec<_> = names.filter(|name| !name.is_empty()).cloned().collect();
    format!("lease {}{holder}", names.join(" "))
}

/// Checks what a lease says, beside its pool.
fn imported_lease(message: ipam::Lease) -> Result<ImportedLease, Refusal> {
    let mut problems = Problems::default();
    let owner = message.owner.map(lease::decode_owner);
    if let Some(owner) = &owner {
        request::check_owner(owner, "lease.owner", &mut problems);
    }
    let mac = problems.mac("lease.mac", &message.mac);
    problems.labels("lease.labels", &message.labels);
    let state = ipam::lease::State::try_from(message.state);
    problems.known("lease.state", state.is_ok());
    let families = ipam::FamiliesRequired::try_from(message.requested_families);
    problems.known("lease.requested_families", families.is_ok());
    let mut time = |field: &str, time: Option<wkt::Timestamp>| -> Option<Timestamp> {
        let time = time?;
        let decoded = time::decode(&time);
        if decoded.is_none() {
            problems.add(
                format!("lease.{field}"),
                "must be a time of the years 1 to 9999, with 0 to 999999999 nanoseconds",
            );
        }
        decoded
    };
    let create_time = time("create_time", message.create_time);
    let renew_time = time("renew_time", message.renew_time);
    let expire_time = time("expire_time", message.expire_time);
    let quarantine_until = time("quarantine_until_time", message.quarantine_until_time);
    problems.request_id("lease.request_id", &message.request_id);
    let ips = message.requested_ips.iter().enumerate();
    let ips = ips.filter_map(|(index, ip)| {
        let plain = ip.split_once('/').map_or(ip.as_str(), |(plain, _)| plain);
        problems.address(&format!("lease.requested_ips[{index}]"), plain, None)
    });
    let ips: Vec<IpAddr> = ips.collect();
    problems.into_result()?;
    let ipv4 = address(&message.ipv4, Family::V4)?.map(IpNetwork::from);
    let ipv6 = address(&message.ipv6, Family::V6)?.map(IpNetwork::from);
    let state = match state {
        Ok(ipam::lease::State::Quarantined) => LeaseState::Quarantined,
        _ => LeaseState::Active,
    };
    let source = match message.id.is_empty() {
        true => Source::OtherPlugin,
        false => Source::Backup,
    };
    Ok(ImportedLease {
        source,
        id: message.id.parse().ok(),
        lease: Lease {
            pool: shared(message.pool),
            ipv4: ipv4.and_then(|ip| match ip {
                IpNetwork::V4(ip) => Some(ip),
                IpNetwork::V6(_) => None,
            }),
            ipv6: ipv6.and_then(|ip| match ip {
                IpNetwork::V6(ip) => Some(ip),
                IpNetwork::V4(_) => None,
            }),
            owner: owner.map(Arc::new),
            mac: shared(mac),
            state,
            generation: message.generation,
            create_time,
            renew_time,
            expire_time,
            quarantine_until,
            labels: Arc::new(message.labels),
            requested: Arc::new(Requested {
                id: message.request_id,
                ips,
                pools: message.requested_pools,
                families: families.ok().and_then(lease::decode_families),
            }),
            ..Lease::default()
        },
    })
}

/// The address of a lease; its prefix length counts for nothing.
fn address(text: &str, family: Family) -> Result<Option<IpAddr>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let plain = text.split_once('/').map_or(text, |(plain, _)| plain);
    let address = parse_address(plain, Some(family));
    address
        .map(Some)
        .map_err(|problem| Refusal::field("lease", problem))
}
