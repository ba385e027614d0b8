//! Each failure has its code and its reason, and is bounded.

use std::net::{IpAddr, Ipv4Addr};

use ipam_core::family::Family;

use super::*;

/// The page of the book that lists all reasons.
const BOOK: &str = include_str!("../../../../docs/src/errors.md");

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
            Error::Refused(Refusal::InvalidAttachment {
                missing: "ifname".into(),
            }),
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
            Error::Refused(Refusal::PoolNotFound { pool: pool() }),
            Code::NotFound,
            "POOL_NOT_FOUND",
        ),
        (
            Error::Refused(Refusal::LeaseNotFound { id: "l7".into() }),
            Code::NotFound,
            "LEASE_NOT_FOUND",
        ),
        (
            Error::Refused(Refusal::AddressNotInPool {
                address,
                pools: vec![],
            }),
            Code::OutOfRange,
            "ADDRESS_NOT_IN_POOL",
        ),
        (
            Error::Refused(Refusal::AddressReserved {
                address,
                pool: pool(),
                why: String::new(),
            }),
            Code::FailedPrecondition,
            "ADDRESS_RESERVED",
        ),
        (
            Error::Refused(Refusal::AddressInUse {
                address,
                pool: pool(),
                holder: String::new(),
            }),
            Code::AlreadyExists,
            "ADDRESS_IN_USE",
        ),
        (
            Error::Refused(Refusal::AddressQuarantined {
                address,
                pool: pool(),
                seconds: 9,
            }),
            Code::FailedPrecondition,
            "ADDRESS_QUARANTINED",
        ),
        (
            Error::Refused(Refusal::PoolExists { pool: pool() }),
            Code::AlreadyExists,
            "POOL_EXISTS",
        ),
        (
            Error::Refused(Refusal::PoolExhausted {
                pool: pool(),
                family: Family::V6,
                hint: String::new(),
            }),
            Code::ResourceExhausted,
            "POOL_EXHAUSTED",
        ),
        (
            Error::Refused(Refusal::PoolNotActive { pool: pool() }),
            Code::FailedPrecondition,
            "POOL_NOT_ACTIVE",
        ),
        (
            Error::Refused(Refusal::RequestMismatch {
                id: "l7".into(),
                difference: String::new(),
            }),
            Code::AlreadyExists,
            "REQUEST_MISMATCH",
        ),
        (
            Error::Refused(Refusal::LeaseExpired { id: "l7".into() }),
            Code::FailedPrecondition,
            "LEASE_EXPIRED",
        ),
        (
            Error::Refused(Refusal::PoolInUse {
                pool: pool(),
                why: String::new(),
            }),
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
            Error::Refused(Refusal::Restored {
                nodes: "n1".into(),
                seconds: 9,
            }),
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
            Error::Refused(Refusal::Store(StoreError::Full { store: "/x".into() })),
            Code::Unavailable,
            "STORE_UNAVAILABLE",
        ),
        (
            Error::Refused(Refusal::Store(StoreError::Contended {
                store: "x".into(),
                times: 20,
            })),
            Code::Aborted,
            "CONTENTION",
        ),
        (
            Error::Refused(Refusal::Broken {
                what: String::new(),
            }),
            Code::Internal,
            "BROKEN",
        ),
        (
            Error::Refused(Refusal::Store(StoreError::Corrupt {
                store: "/x".into(),
                what: String::new(),
            })),
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
    let pool = || Refusal::PoolNotFound {
        pool: "blue".into(),
    };
    let alone = Status::from(Error::Refused(pool()));
    let status = Status::from(Error::Refused(Refusal::OfRequest {
        index: 3,
        error: Box::new(pool()),
    }));
    assert_eq!(status.code(), alone.code());
    assert_eq!(
        status.message(),
        format!("requests[3]: {}", alone.message())
    );
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "POOL_NOT_FOUND");
    assert_eq!(info.metadata["request"], "3");
    assert_eq!(info.metadata["message"], alone.message());
}

#[test]
fn an_error_is_bounded_whatever_is_wrong_with_a_request() {
    let problems = |count: usize, text: &str| {
        let problem = |n| ipam_core::problem::FieldProblem {
            field: format!("pool.ipv4.ranges[{n}]{text}"),
            problem: format!("{text} is not inside the cidr"),
        };
        Error::Refused(Refusal::InvalidFields((0..count).map(problem).collect()))
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
            Error::Refused(Refusal::PoolNotFound { pool: text.into() }),
            Error::Refused(Refusal::AddressNotInPool {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                pools: vec![text.to_owned(); 1000],
            }),
            Error::Undecodable {
                problem: text.into(),
            },
            Error::Refused(Refusal::Restored {
                nodes: text.into(),
                seconds: 1,
            }),
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
    let full = Status::from(Error::Refused(Refusal::Store(StoreError::Full {
        store: "/x".into(),
    })));
    assert!(full.get_details_retry_info().is_some());
    assert!(full.message().contains("/x"), "{}", full.message());
    let wrong = Status::from(Error::field("pool.name", "wrong"));
    assert_eq!(
        wrong.get_details_bad_request().unwrap().field_violations[0].field,
        "pool.name"
    );
}
