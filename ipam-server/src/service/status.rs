//! The one place where errors become gRPC statuses, with the details of google.rpc.

use std::collections::HashMap;
use std::error::Error as _;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::error::Error;
use crate::store::StoreError;

/// The domain of google.rpc.ErrorInfo.
pub const DOMAIN: &str = "ipam.meta-cni.io";

/// When to try again if the store is away.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// What a message of prost begins with that says so.
const UNDECODABLE: &str = "failed to decode Protobuf message";

/// Problems that one error names at most.
const PROBLEMS: usize = 10;
/// Bytes of an error as it is sent: the message, percent-encoded, and the details, in base64. Both are trailers of HTTP/2,
/// of which clients take 8 to 16 KiB; a client that gets more breaks the connection, and every call on it.
const BYTES: usize = 2048;
/// Bytes of a text in the details at most; halved until the error fits.
const TEXT: usize = 400;

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let mut limit = TEXT;
        loop {
            let status = within(&error, limit);
            if limit == 0 || sent_bytes(&status) <= BYTES {
                return status;
            }
            limit /= 2;
        }
    }
}

/// Bytes of an error in its trailers.
fn sent_bytes(status: &Status) -> usize {
    let encoded = |byte: u8| {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            1
        } else {
            3
        }
    };
    let message: usize = status.message().bytes().map(encoded).sum();
    message + status.details().len().div_ceil(3) * 4
}

/// The first bytes of a text.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(limit)])
}

/// The status of an error, whose texts are cut.
fn within(error: &Error, limit: usize) -> Status {
    if let Error::OfRequest { error, index } = error {
        return of_request(*index, within(error, limit));
    }
    let mut details = ErrorDetails::new();
    let metadata = metadata(error).into_iter();
    let metadata = metadata.map(|(key, value)| (key, cut(&value, limit)));
    details.set_error_info(error.reason(), DOMAIN, metadata.collect::<HashMap<_, _>>());
    let mut message = None;
    match error {
        Error::InvalidFields(problems) => {
            let violations = problems.iter().take(PROBLEMS).map(|at| {
                FieldViolation::new(cut(&at.field, limit / 2), cut(&at.problem, limit / 2))
            });
            details.set_bad_request(violations.collect::<Vec<_>>());
            let texts = problems.iter().take(PROBLEMS);
            let texts = texts.map(|at| cut(&format!("{}: {}", at.field, at.problem), limit / 2));
            let more = problems.len().saturating_sub(PROBLEMS);
            let more = (more > 0).then(|| format!("and {more} more problems"));
            message = Some(texts.chain(more).collect::<Vec<_>>().join("; "));
        }
        Error::InvalidAttachment { missing } => {
            details.set_bad_request(vec![FieldViolation::new(
                "owner",
                format!("{missing} is missing"),
            )]);
        }
        Error::Undecodable { problem } => {
            details.set_bad_request(vec![FieldViolation::new("(message)", cut(problem, limit))]);
        }
        Error::AddressQuarantined { seconds, .. } => {
            details.set_retry_info(Some(Duration::from_secs(*seconds)));
        }
        Error::Store(StoreError::Corrupt { .. }) => {}
        Error::Store(_) | Error::Stopping | Error::Unreviewed | Error::Restored { .. } => {
            details.set_retry_info(Some(STORE_RETRY));
        }
        _ => {}
    }
    let message = message.unwrap_or_else(|| match error.source() {
        Some(cause) => cut(&format!("{error}: {cause}"), 2 * limit),
        None => cut(&error.to_string(), 2 * limit),
    });
    Status::with_error_details(code(error), message, details)
}

/// The status of one request in a batch: the same, with its index as `request` in the metadata of ErrorInfo.
fn of_request(index: usize, status: Status) -> Status {
    let mut details = status.get_error_details();
    if let Some(info) = details.error_info() {
        let (reason, mut metadata) = (info.reason.clone(), info.metadata.clone());
        metadata.insert("request".to_owned(), index.to_string());
        details.set_error_info(reason, DOMAIN, metadata);
    }
    let message = format!("requests[{index}]: {}", status.message());
    Status::with_error_details(status.code(), message, details)
}

fn code(error: &Error) -> Code {
    match error {
        Error::OfRequest { error, .. } => code(error),
        Error::InvalidFields(_)
        | Error::InvalidAttachment { .. }
        | Error::Undecodable { .. }
        | Error::BadToken => Code::InvalidArgument,
        Error::PoolNotFound { .. }
        | Error::LeaseNotFound { .. }
        | Error::ReservationNotFound { .. } => Code::NotFound,
        Error::AddressNotInPool { .. } | Error::Compacted { .. } | Error::RevisionAhead { .. } => {
            Code::OutOfRange
        }
        Error::AddressReserved { .. }
        | Error::AddressQuarantined { .. }
        | Error::PoolOverlap { .. }
        | Error::PoolNotActive { .. }
        | Error::LeaseExpired { .. }
        | Error::PoolInUse { .. }
        | Error::OtherStore { .. }
        | Error::ReportFirst { .. } => Code::FailedPrecondition,
        Error::AddressInUse { .. }
        | Error::PoolExists { .. }
        | Error::ReservationExists { .. }
        | Error::RequestMismatch { .. } => Code::AlreadyExists,
        Error::PoolExhausted { .. } | Error::NamespaceQuota { .. } => Code::ResourceExhausted,
        Error::NoIdentity { .. } | Error::BadBearer => Code::Unauthenticated,
        Error::Unreviewed => Code::Unavailable,
        Error::NotAllowed { .. } | Error::OtherNode { .. } | Error::TooManyMissed { .. } => {
            Code::PermissionDenied
        }
        Error::Stale { .. } | Error::Store(StoreError::Contended { .. }) => Code::Aborted,
        Error::Broken { .. } | Error::System { .. } => Code::Internal,
        Error::DeadlineExceeded => Code::DeadlineExceeded,
        Error::Store(StoreError::Corrupt { .. }) => Code::DataLoss,
        Error::Store(_) | Error::Stopping | Error::Restored { .. } => Code::Unavailable,
    }
}

/// An answer, with the status of [`Error::Undecodable`] where tonic says INTERNAL of bytes that it cannot decode.
pub fn of_codec<B: Default>(response: http::Response<B>) -> http::Response<B> {
    let status = Status::from_header_map(response.headers());
    match status.filter(|status| status.code() == Code::Internal) {
        Some(status) if status.message().starts_with(UNDECODABLE) => {
            let problem = status.message().to_owned();
            Status::from(Error::Undecodable { problem }).into_http()
        }
        _ => response,
    }
}

/// What a program can use of an error.
fn metadata(error: &Error) -> HashMap<String, String> {
    let mut metadata = HashMap::new();
    let mut put = |key: &str, value: &dyn std::fmt::Display| {
        metadata.insert(key.to_owned(), value.to_string());
    };
    match error {
        Error::PoolNotFound { pool }
        | Error::NamespaceQuota { pool, .. }
        | Error::PoolExists { pool }
        | Error::PoolOverlap { pool, .. }
        | Error::PoolNotActive { pool }
        | Error::PoolInUse { pool, .. } => put("pool", pool),
        Error::PoolExhausted { pool, family, .. } => {
            put("pool", pool);
            put("family", family);
        }
        Error::AddressReserved { address, pool, .. }
        | Error::AddressInUse { address, pool, .. }
        | Error::AddressQuarantined { address, pool, .. } => {
            put("pool", pool);
            put("address", address);
        }
        Error::AddressNotInPool { address, pools } => {
            put("pools", &pools.join(","));
            put("address", address);
        }
        Error::LeaseNotFound { id }
        | Error::LeaseExpired { id }
        | Error::RequestMismatch { id, .. } => {
            put("lease", id);
        }
        Error::ReservationNotFound { name } | Error::ReservationExists { name } => {
            put("reservation", name)
        }
        Error::Stale { present, .. } => put("present", present),
        Error::ReportFirst { store } => put("store", store),
        Error::Restored { nodes, .. } => put("nodes", nodes),
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::error::Family;

    /// The page of the book that lists all reasons.
    const BOOK: &str = include_str!("../../../docs/src/errors.md");

    /// The code that the book has for a reason, written like a variant of [`Code`] but for case.
    fn code_in_book(reason: &str) -> Option<String> {
        let reason = format!("`{reason}`");
        let row = BOOK.lines().find(|line| line.contains(&reason))?;
        let code = row.split('|').nth(1)?;
        Some(code.trim().replace('_', "").to_lowercase())
    }

    #[test]
    fn every_failure_has_its_code_and_reason() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let pool = || "blue".to_owned();
        let cases = [
            (
                Error::field("pool.name", "wrong"),
                Code::InvalidArgument,
                "INVALID_FIELD",
            ),
            (
                Error::InvalidAttachment {
                    missing: "ifname".into(),
                },
                Code::InvalidArgument,
                "INVALID_ATTACHMENT",
            ),
            (
                Error::Undecodable {
                    problem: String::new(),
                },
                Code::InvalidArgument,
                "DECODE",
            ),
            (
                Error::PoolNotFound { pool: pool() },
                Code::NotFound,
                "POOL_NOT_FOUND",
            ),
            (
                Error::LeaseNotFound { id: "l7".into() },
                Code::NotFound,
                "LEASE_NOT_FOUND",
            ),
            (
                Error::AddressNotInPool {
                    address,
                    pools: vec![],
                },
                Code::OutOfRange,
                "ADDRESS_NOT_IN_POOL",
            ),
            (
                Error::AddressReserved {
                    address,
                    pool: pool(),
                    why: String::new(),
                },
                Code::FailedPrecondition,
                "ADDRESS_RESERVED",
            ),
            (
                Error::AddressInUse {
                    address,
                    pool: pool(),
                    holder: String::new(),
                },
                Code::AlreadyExists,
                "ADDRESS_IN_USE",
            ),
            (
                Error::AddressQuarantined {
                    address,
                    pool: pool(),
                    seconds: 9,
                },
                Code::FailedPrecondition,
                "ADDRESS_QUARANTINED",
            ),
            (
                Error::PoolExists { pool: pool() },
                Code::AlreadyExists,
                "POOL_EXISTS",
            ),
            (
                Error::PoolExhausted {
                    pool: pool(),
                    family: Family::V6,
                    hint: String::new(),
                },
                Code::ResourceExhausted,
                "POOL_EXHAUSTED",
            ),
            (
                Error::PoolNotActive { pool: pool() },
                Code::FailedPrecondition,
                "POOL_NOT_ACTIVE",
            ),
            (
                Error::RequestMismatch {
                    id: "l7".into(),
                    difference: String::new(),
                },
                Code::AlreadyExists,
                "REQUEST_MISMATCH",
            ),
            (
                Error::LeaseExpired { id: "l7".into() },
                Code::FailedPrecondition,
                "LEASE_EXPIRED",
            ),
            (
                Error::PoolInUse {
                    pool: pool(),
                    why: String::new(),
                },
                Code::FailedPrecondition,
                "POOL_IN_USE",
            ),
            (
                Error::Compacted {
                    wanted: String::new(),
                    oldest: 7,
                },
                Code::OutOfRange,
                "COMPACTED",
            ),
            (
                Error::ReportFirst { store: "s".into() },
                Code::FailedPrecondition,
                "REPORT_FIRST",
            ),
            (
                Error::Restored {
                    nodes: "n1".into(),
                    seconds: 9,
                },
                Code::Unavailable,
                "STORE_RESTORED",
            ),
            (
                Error::OtherStore {
                    given: "a".into(),
                    present: "b".into(),
                    revision: 7,
                },
                Code::FailedPrecondition,
                "OTHER_STORE",
            ),
            (
                Error::RevisionAhead {
                    wanted: 9,
                    present: 7,
                },
                Code::OutOfRange,
                "REVISION_AHEAD",
            ),
            (Error::BadToken, Code::InvalidArgument, "BAD_TOKEN"),
            (
                Error::NoIdentity { operation: "x" },
                Code::Unauthenticated,
                "NO_IDENTITY",
            ),
            (
                Error::NotAllowed {
                    who: String::new(),
                    roles: String::new(),
                    operation: "x",
                    remedy: "x",
                },
                Code::PermissionDenied,
                "NOT_ALLOWED",
            ),
            (
                Error::DeadlineExceeded,
                Code::DeadlineExceeded,
                "DEADLINE_EXCEEDED",
            ),
            (
                Error::Store(StoreError::Full { store: "/x".into() }),
                Code::Unavailable,
                "STORE_UNAVAILABLE",
            ),
            (
                Error::Store(StoreError::Contended {
                    store: "x".into(),
                    times: 20,
                }),
                Code::Aborted,
                "CONTENTION",
            ),
            (
                Error::Broken {
                    what: String::new(),
                },
                Code::Internal,
                "BROKEN",
            ),
            (
                Error::Store(StoreError::Corrupt {
                    store: "/x".into(),
                    what: String::new(),
                }),
                Code::DataLoss,
                "STORE_CORRUPT",
            ),
        ];
        for (error, code, reason) in cases {
            let status = Status::from(error);
            assert_eq!(status.code(), code, "{reason}");
            let info = status.get_details_error_info().unwrap();
            assert_eq!(
                (info.domain.as_str(), info.reason.as_str()),
                (DOMAIN, reason)
            );
            let code = format!("{code:?}").to_lowercase();
            assert_eq!(code_in_book(reason), Some(code), "{reason}");
        }
    }

    #[test]
    fn an_error_of_a_batch_is_that_of_the_request_with_its_place() {
        let pool = || Error::PoolNotFound {
            pool: "blue".into(),
        };
        let alone = Status::from(pool());
        let status = Status::from(Error::OfRequest {
            index: 3,
            error: Box::new(pool()),
        });
        assert_eq!(status.code(), alone.code());
        assert_eq!(
            status.message(),
            format!("requests[3]: {}", alone.message())
        );
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.reason, "POOL_NOT_FOUND");
        assert_eq!(info.metadata["request"], "3");
    }

    #[test]
    fn an_error_is_bounded_whatever_is_wrong_with_a_request() {
        let problems = |count: usize, text: &str| {
            let problem = |n| crate::error::FieldProblem {
                field: format!("pool.ipv4.ranges[{n}]{text}"),
                problem: format!("{text} is not inside the cidr"),
            };
            Error::InvalidFields((0..count).map(problem).collect())
        };
        let long = "x".repeat(100_000);
        let foreign = "\u{4e2d}%\n".repeat(10_000);
        for text in ["", "10.0.0.1-10.0.0.9", &long, &foreign] {
            for count in [1, 10, 11, 5000] {
                let status = Status::from(problems(count, text));
                assert!(sent_bytes(&status) <= BYTES, "{count} of {}", text.len());
                let shown = status.get_details_bad_request().unwrap().field_violations;
                assert_eq!(shown.len(), count.min(PROBLEMS));
                let more = status.message().contains("more problems");
                assert_eq!(more, count > PROBLEMS, "{}", status.message());
                assert!(status.get_details_error_info().is_some());
            }
            for error in [
                Error::PoolNotFound { pool: text.into() },
                Error::AddressNotInPool {
                    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    pools: vec![text.to_owned(); 1000],
                },
                Error::Undecodable {
                    problem: text.into(),
                },
                Error::Restored {
                    nodes: text.into(),
                    seconds: 1,
                },
            ] {
                assert!(sent_bytes(&Status::from(error)) <= BYTES);
            }
        }
        // One that fits is whole.
        let short = Status::from(problems(2, "10.0.0.1"));
        assert!(!short.message().contains("..."), "{}", short.message());
    }

    #[test]
    fn what_passes_says_when_to_try_again_and_what_is_wrong_says_where() {
        let full = Status::from(Error::Store(StoreError::Full { store: "/x".into() }));
        assert!(full.get_details_retry_info().is_some());
        assert!(full.message().contains("/x"), "{}", full.message());
        let wrong = Status::from(Error::field("pool.name", "wrong"));
        assert_eq!(
            wrong.get_details_bad_request().unwrap().field_violations[0].field,
            "pool.name"
        );
    }
}
