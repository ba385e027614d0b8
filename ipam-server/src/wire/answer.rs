//! Answers.

use std::sync::Arc;

use ipam_core::allocator::adopt::AdoptOutcome;
use ipam_core::allocator::allocate::Allocation;
use ipam_core::allocator::explain::Explanation;
use ipam_core::allocator::import::ImportOutcome;
use ipam_core::allocator::pools::{PoolUsage, Usage};
use ipam_core::log::StoreMark;
use ipam_core::pool::Subnet;
use proto::ipam::v1 as ipam;

use super::{lease, pool};

/// A lease with what a pod needs beside it: of the families that it has.
pub fn allocation(allocation: Allocation, store: Option<StoreMark>) -> ipam::AllocateResponse {
    let Allocation {
        lease,
        pool,
        is_existing,
    } = allocation;
    let ipv4 = pool.ipv4.as_ref().filter(|_| lease.ipv4.is_some());
    let ipv6 = pool.ipv6.as_ref().filter(|_| lease.ipv6.is_some());
    let routes = ipv4.into_iter().chain(ipv6).flat_map(pool::encode_routes);
    ipam::AllocateResponse {
        ipv4_gateway: gateway(ipv4),
        ipv6_gateway: gateway(ipv6),
        routes: routes.collect(),
        dns: pool.dns.clone().map(pool::encode_dns),
        existing: is_existing,
        store: store.map(store_mark),
        lease: Some(lease::encode(Arc::unwrap_or_clone(lease))),
    }
}

fn gateway(subnet: Option<&Subnet>) -> String {
    let gateway = subnet.and_then(|subnet| Some(subnet.address(subnet.gateway?)));
    gateway.map(|ip| ip.to_string()).unwrap_or_default()
}

/// A pool with its counts.
pub fn pool_usage(usage: PoolUsage) -> ipam::Pool {
    ipam::Pool {
        ipv4_usage: usage.ipv4.map(counts),
        ipv6_usage: usage.ipv6.map(counts),
        ..pool::encode(Arc::unwrap_or_clone(usage.pool))
    }
}

fn counts(usage: Usage) -> ipam::Usage {
    ipam::Usage {
        capacity: usage.capacity.to_string(),
        leased: usage.leased.to_string(),
        reserved: usage.reserved.to_string(),
        quarantined: usage.quarantined.to_string(),
        free: usage.free.to_string(),
    }
}

/// What Allocate would do.
pub fn explanation(explanation: Explanation) -> ipam::ExplainResponse {
    let steps = explanation.steps.into_iter();
    let steps = steps.map(|step| ipam::ExplainStep {
        pool: step.pool,
        finding: step.finding,
        reason: step.reason.to_owned(),
    });
    ipam::ExplainResponse {
        steps: steps.collect(),
        would_give: explanation.would_allocate.map(|one| allocation(one, None)),
    }
}

/// What became of an import.
pub fn import(outcome: ImportOutcome) -> ipam::ImportResponse {
    ipam::ImportResponse {
        imported: outcome.imported,
        unchanged: outcome.unchanged,
        conflicts: outcome.conflicts,
        conflict_details: outcome.details,
    }
}

/// What became of a node's report.
pub fn adopted(outcome: AdoptOutcome, store: Option<StoreMark>) -> ipam::ReportHeldResponse {
    ipam::ReportHeldResponse {
        adopted: outcome.adopted,
        unchanged: outcome.unchanged,
        conflicts: outcome.conflicts,
        missing_pools: outcome.missing_pools,
        conflict_details: outcome.details,
        store: store.map(store_mark),
    }
}

/// The store as it is.
pub fn store_mark(mark: StoreMark) -> ipam::StoreMark {
    ipam::StoreMark {
        id: mark.id,
        revision: mark.revision,
        proof: mark.proof,
    }
}
