//! Who calls and how long the answer is waited for.

use std::time::{Duration, Instant};

use tonic::Request;

use crate::access::Grant;
use crate::access::operations::Role;
use crate::ledger::Caller;

/// The most that a request may take if the caller sets no deadline.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// The caller of a request, as [`crate::access::layer`] let it through.
pub(super) fn caller<T>(request: &Request<T>) -> Caller {
    let timeout = request
        .metadata()
        .get("grpc-timeout")
        .and_then(|value| timeout(value.to_str().ok()?));
    let deadline = Some(Instant::now() + timeout.unwrap_or(DEFAULT_DEADLINE));
    match request.extensions().get::<Grant>() {
        Some(grant) => Caller {
            actor: grant.actor.clone(),
            deadline,
            node: grant.node.clone(),
            is_bounded: grant.is_bounded,
        },
        // A request that went past the layer reaches nothing.
        None => Caller {
            actor: "unknown".into(),
            deadline,
            node: Some("".into()),
            is_bounded: true,
        },
    }
}

/// Whether the caller of a request is an operator.
pub(super) fn is_operator<T>(request: &Request<T>) -> bool {
    let grant = request.extensions().get::<Grant>();
    grant.is_some_and(|grant| grant.role == Some(Role::Operator))
}

/// Whether the caller of a request reads all of a pool. Nodes and reclaimers read what a pod of theirs needs of it: not which
/// tenants have it, nor what its operators note.
pub(super) fn reads_pools<T>(request: &Request<T>) -> bool {
    let grant = request.extensions().get::<Grant>();
    let role = grant.and_then(|grant| grant.role);
    matches!(role, Some(Role::Operator | Role::Reader))
}

/// The value of `grpc-timeout`: up to 8 digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}
