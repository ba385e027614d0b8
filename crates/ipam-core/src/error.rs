//! What can be wrong with a decision that a caller asks for. Nothing has changed then.

use std::net::IpAddr;

use crate::family::Family;
use crate::log::StoreError;
use crate::problem::FieldProblem;

/// Why a request is not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// INVALID_FIELD: all the fields that are wrong.
    #[error("{}", fields(.0))]
    InvalidFields(Vec<FieldProblem>),
    /// One of several requests in a batch cannot be served: the reason and everything else are those of `error`.
    #[error("requests[{index}]: {error}")]
    OfRequest {
        /// Which one, from 0.
        index: usize,
        /// Why.
        error: Box<Error>,
    },
    /// INVALID_ATTACHMENT: network, container_id and ifname are given in part.
    #[error(
        "owner: network, container_id and ifname name an attachment together; {missing} is missing"
    )]
    InvalidAttachment {
        /// The fields that are empty.
        missing: String,
    },
    /// POOL_NOT_FOUND.
    #[error(
        "pool {pool} does not exist, or is not open to this namespace; `ipamctl pool list` shows the pools"
    )]
    PoolNotFound {
        /// Its name.
        pool: String,
    },
    /// LEASE_NOT_FOUND.
    #[error("lease {id} does not exist")]
    LeaseNotFound {
        /// Its id.
        id: String,
    },
    /// RESERVATION_NOT_FOUND.
    #[error("reservation {name} does not exist")]
    ReservationNotFound {
        /// Its name.
        name: String,
    },
    /// ADDRESS_NOT_IN_POOL.
    #[error("{address} is not in the ranges of {}", .pools.join(", "))]
    AddressNotInPool {
        /// The address that was asked for.
        address: IpAddr,
        /// The pools that were asked.
        pools: Vec<String>,
    },
    /// ADDRESS_RESERVED.
    #[error("{address} of pool {pool} is not for lease: {why}")]
    AddressReserved {
        /// The address that was asked for.
        address: IpAddr,
        /// Its pool.
        pool: String,
        /// Gateway, network, broadcast, excluded, or reservation NAME.
        why: String,
    },
    /// ADDRESS_IN_USE.
    #[error("{address} of pool {pool} is held by {holder}")]
    AddressInUse {
        /// The address that was asked for.
        address: IpAddr,
        /// Its pool.
        pool: String,
        /// Who holds it: lease id and owner.
        holder: String,
    },
    /// ADDRESS_QUARANTINED.
    #[error("{address} of pool {pool} rests after its release for {seconds} s more")]
    AddressQuarantined {
        /// The address that was asked for.
        address: IpAddr,
        /// Its pool.
        pool: String,
        /// Until it can be given.
        seconds: u64,
    },
    /// POOL_EXISTS.
    #[error("pool {pool} exists already")]
    PoolExists {
        /// Its name.
        pool: String,
    },
    /// RESERVATION_EXISTS.
    #[error("reservation {name} exists already")]
    ReservationExists {
        /// Its name.
        name: String,
    },
    /// POOL_OVERLAP.
    #[error(
        "pool {pool}: {cidr} overlaps {other_cidr} of pool {other} in VRF {vrf}; choose another CIDR or VRF"
    )]
    PoolOverlap {
        /// The new pool.
        pool: String,
        /// Its CIDR.
        cidr: String,
        /// The pool that is there.
        other: String,
        /// Its CIDR.
        other_cidr: String,
        /// The VRF of both.
        vrf: String,
    },
    /// POOL_EXHAUSTED.
    #[error("pool {pool} has no free {family} address; {hint}")]
    PoolExhausted {
        /// The last pool that was tried.
        pool: String,
        /// The family that is used up.
        family: Family,
        /// What holds them and what can be done.
        hint: String,
    },
    /// NAMESPACE_QUOTA.
    #[error(
        "namespace {namespace} has {quota} leases of pool {pool}, as many as the pool allows; release some, or raise namespace_quota"
    )]
    NamespaceQuota {
        /// The pool.
        pool: String,
        /// Who has them.
        namespace: String,
        /// How many it may have.
        quota: u32,
    },
    /// POOL_NOT_ACTIVE.
    #[error("pool {pool} is cordoned; `ipamctl pool cordon --undo {pool}` lets it lease again")]
    PoolNotActive {
        /// Its name.
        pool: String,
    },
    /// REQUEST_MISMATCH.
    #[error(
        "lease {id} was made by the same request or for the same attachment, but differs in {difference}; release it first"
    )]
    RequestMismatch {
        /// The lease that is there.
        id: String,
        /// The fields that differ.
        difference: String,
    },
    /// STALE_GENERATION.
    #[error("{subject} has changed: its {what} is {present}, not {given}; read it again")]
    Stale {
        /// `lease l7` or `pool blue`.
        subject: String,
        /// `generation` or `etag`.
        what: &'static str,
        /// As it is.
        present: String,
        /// As in the request.
        given: String,
    },
    /// LEASE_EXPIRED.
    #[error("lease {id} has ended; allocate anew")]
    LeaseExpired {
        /// Its id.
        id: String,
    },
    /// POOL_IN_USE.
    #[error("pool {pool} is in use: {why}")]
    PoolInUse {
        /// Its name.
        pool: String,
        /// By which lease or reservation, and how many there are.
        why: String,
    },
    /// STORE_RESTORED.
    #[error(
        "the store was restored and waits up to {seconds} s more until these nodes have reported what they hold: {nodes}; try again"
    )]
    Restored {
        /// The nodes, a few of them by name.
        nodes: String,
        /// How long it waits at most.
        seconds: u64,
    },
    /// NOT_ALLOWED: a node asks for what is another node's.
    #[error(
        "this request is about {what} of another node; the caller is node {node}: name that node, or none"
    )]
    OtherNode {
        /// The caller's node.
        node: String,
        /// What it is about.
        what: &'static str,
    },
    /// BROKEN: what must hold in the server's memory does not: a fault of the server itself.
    #[error("a fault of the server: {what}; restart it, and report this with its log")]
    Broken {
        /// What does not hold.
        what: String,
    },
    /// STORE_UNAVAILABLE, STORE_CORRUPT or CONTENTION.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Error {
    /// An [`Error::InvalidFields`] of one field.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::InvalidFields(vec![FieldProblem {
            field: field.into(),
            problem: problem.into(),
        }])
    }

    /// The reason of `google.rpc.ErrorInfo`, domain `ipam.meta-cni.io`.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::InvalidFields(_) => "INVALID_FIELD",
            Error::OfRequest { error, .. } => error.reason(),
            Error::InvalidAttachment { .. } => "INVALID_ATTACHMENT",
            Error::PoolNotFound { .. } => "POOL_NOT_FOUND",
            Error::LeaseNotFound { .. } => "LEASE_NOT_FOUND",
            Error::ReservationNotFound { .. } => "RESERVATION_NOT_FOUND",
            Error::AddressNotInPool { .. } => "ADDRESS_NOT_IN_POOL",
            Error::AddressReserved { .. } => "ADDRESS_RESERVED",
            Error::AddressInUse { .. } => "ADDRESS_IN_USE",
            Error::AddressQuarantined { .. } => "ADDRESS_QUARANTINED",
            Error::PoolExists { .. } => "POOL_EXISTS",
            Error::ReservationExists { .. } => "RESERVATION_EXISTS",
            Error::PoolOverlap { .. } => "POOL_OVERLAP",
            Error::PoolExhausted { .. } => "POOL_EXHAUSTED",
            Error::NamespaceQuota { .. } => "NAMESPACE_QUOTA",
            Error::PoolNotActive { .. } => "POOL_NOT_ACTIVE",
            Error::RequestMismatch { .. } => "REQUEST_MISMATCH",
            Error::Stale { .. } => "STALE_GENERATION",
            Error::LeaseExpired { .. } => "LEASE_EXPIRED",
            Error::PoolInUse { .. } => "POOL_IN_USE",
            Error::Restored { .. } => "STORE_RESTORED",
            Error::OtherNode { .. } => "NOT_ALLOWED",
            Error::Broken { .. } => "BROKEN",
            Error::Store(StoreError::Corrupt { .. }) => "STORE_CORRUPT",
            Error::Store(StoreError::Contended { .. }) => "CONTENTION",
            Error::Store(_) => "STORE_UNAVAILABLE",
        }
    }
}

fn fields(problems: &[FieldProblem]) -> String {
    let each: Vec<_> = problems
        .iter()
        .map(|at| format!("{}: {}", at.field, at.problem))
        .collect();
    each.join("; ")
}
