//! What a failure is for a program: its gRPC code, and its values.

use std::collections::HashMap;

use tonic::Code;

use crate::error::{Error, Refusal};
use crate::store::StoreError;

/// The code of an error.
pub(super) fn code(error: &Error) -> Code {
    match error {
        Error::Refused(refusal) => code_of_refusal(refusal),
        Error::Undecodable { .. } | Error::BadToken => Code::InvalidArgument,
        Error::Compacted { .. } | Error::RevisionAhead { .. } => Code::OutOfRange,
        Error::OtherStore { .. } | Error::ReportFirst { .. } => Code::FailedPrecondition,
        Error::NoIdentity { .. } | Error::BadBearer => Code::Unauthenticated,
        Error::Unreviewed | Error::Stopping => Code::Unavailable,
        Error::NotAllowed { .. } | Error::TooManyMissed { .. } => Code::PermissionDenied,
        Error::System { .. } => Code::Internal,
        Error::DeadlineExceeded => Code::DeadlineExceeded,
    }
}

/// The code of a refusal.
pub(super) fn code_of_refusal(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::OfRequest { error, .. } => code_of_refusal(error),
        Refusal::InvalidFields(_) | Refusal::InvalidAttachment { .. } => Code::InvalidArgument,
        Refusal::PoolNotFound { .. }
        | Refusal::LeaseNotFound { .. }
        | Refusal::ReservationNotFound { .. } => Code::NotFound,
        Refusal::AddressNotInPool { .. } => Code::OutOfRange,
        Refusal::AddressReserved { .. }
        | Refusal::AddressQuarantined { .. }
        | Refusal::PoolOverlap { .. }
        | Refusal::PoolNotActive { .. }
        | Refusal::LeaseExpired { .. }
        | Refusal::PoolInUse { .. } => Code::FailedPrecondition,
        Refusal::AddressInUse { .. }
        | Refusal::PoolExists { .. }
        | Refusal::ReservationExists { .. }
        | Refusal::RequestMismatch { .. } => Code::AlreadyExists,
        Refusal::PoolExhausted { .. } | Refusal::NamespaceQuota { .. } => Code::ResourceExhausted,
        Refusal::OtherNode { .. } => Code::PermissionDenied,
        Refusal::Stale { .. } | Refusal::Store(StoreError::Contended { .. }) => Code::Aborted,
        Refusal::Broken { .. } => Code::Internal,
        Refusal::Store(StoreError::Corrupt { .. }) => Code::DataLoss,
        Refusal::Store(_) | Refusal::Restored { .. } => Code::Unavailable,
    }
}

/// What a program can use of an error.
pub(super) fn metadata(error: &Error) -> HashMap<String, String> {
    let mut metadata = HashMap::new();
    let mut put = |key: &str, value: &dyn std::fmt::Display| {
        metadata.insert(key.to_owned(), value.to_string());
    };
    match error {
        Error::Refused(refusal) => return metadata_of_refusal(refusal),
        Error::ReportFirst { store } => put("store", store),
        Error::Compacted { oldest, .. } => put("oldest_revision", oldest),
        Error::OtherStore {
            present, revision, ..
        } => {
            put("store", present);
            put("revision", revision);
        }
        Error::RevisionAhead { present, .. } => put("revision", present),
        _ => {}
    }
    metadata
}

/// What a program can use of a refusal.
pub(super) fn metadata_of_refusal(refusal: &Refusal) -> HashMap<String, String> {
    let mut metadata = HashMap::new();
    let mut put = |key: &str, value: &dyn std::fmt::Display| {
        metadata.insert(key.to_owned(), value.to_string());
    };
    match refusal {
        Refusal::PoolNotFound { pool }
        | Refusal::NamespaceQuota { pool, .. }
        | Refusal::PoolExists { pool }
        | Refusal::PoolOverlap { pool, .. }
        | Refusal::PoolNotActive { pool }
        | Refusal::PoolInUse { pool, .. } => put("pool", pool),
        Refusal::PoolExhausted { pool, family, .. } => {
            put("pool", pool);
            put("family", family);
        }
        Refusal::AddressReserved { address, pool, .. }
        | Refusal::AddressInUse { address, pool, .. }
        | Refusal::AddressQuarantined { address, pool, .. } => {
            put("pool", pool);
            put("address", address);
        }
        Refusal::AddressNotInPool { address, pools } => {
            put("pools", &pools.join(","));
            put("address", address);
        }
        Refusal::LeaseNotFound { id }
        | Refusal::LeaseExpired { id }
        | Refusal::RequestMismatch { id, .. } => {
            put("lease", id);
        }
        Refusal::ReservationNotFound { name } | Refusal::ReservationExists { name } => {
            put("reservation", name)
        }
        Refusal::Stale { present, .. } => put("present", present),
        Refusal::Restored { nodes, .. } => put("nodes", nodes),
        _ => {}
    }
    metadata
}
