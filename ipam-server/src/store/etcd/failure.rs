//! What etcd says, sorted by what is to be done about it. etcd's texts are part of its interface (api/v3rpc/rpctypes): several
//! failures have one code.

use std::error::Error as _;
use std::sync::Arc;

use dial::files::FilesError;
use tonic::{Code, Status};

use crate::store::StoreError;

/// Why a call to etcd is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// A member, or the cluster, is not of use now. The call may have had its effect.
    #[error("{member}: {problem}")]
    Away {
        /// The member.
        member: Arc<str>,
        /// What was seen of it.
        problem: String,
    },
    /// The member is of another cluster than the one that was seen first.
    #[error("{member} is a member of another cluster than the others")]
    OtherCluster {
        /// The member.
        member: Arc<str>,
    },
    /// A file of this side cannot be used: of TLS, or of the password.
    #[error("{problem}")]
    File {
        /// The flag, the file, and what is wrong with it.
        problem: String,
    },
    /// The space of the database is used up.
    #[error("the quota of its database is used up (NOSPACE)")]
    NoSpace,
    /// The user may not do this, or is not known.
    #[error("{problem}")]
    Denied {
        /// What etcd says.
        problem: String,
    },
    /// The token has ended: another one is needed.
    #[error("the token has ended")]
    Token,
    /// The request has more bytes than a member takes.
    #[error("the request is too large")]
    TooLarge,
    /// The transaction has more operations than a member takes.
    #[error("the transaction has too many operations")]
    TooManyOps,
    /// The revision that was asked for is compacted.
    #[error("the revision is compacted")]
    Compacted,
    /// Anything else; trying again is of no use.
    #[error("{member} refuses: {problem}")]
    Refused {
        /// The member.
        member: Arc<str>,
        /// What etcd says.
        problem: String,
    },
}

/// The failures that etcd names by text; the first text that a message has counts.
const TEXTS: [(&str, Failure); 7] = [
    ("database space exceeded", Failure::NoSpace),
    ("request is too large", Failure::TooLarge),
    ("received message larger than max", Failure::TooLarge),
    ("too many operations", Failure::TooManyOps),
    ("revision has been compacted", Failure::Compacted),
    ("invalid auth token", Failure::Token),
    ("revision of auth store is old", Failure::Token),
];

/// The texts of what a user may not do. The name is not known, or the password is not right, or nothing is given at all.
const DENIALS: [&str; 4] = [
    "permission denied",
    "authentication failed",
    "user name is empty",
    "user name not found",
];

impl Failure {
    /// The failure of a call to a member.
    pub(super) fn of(member: &Arc<str>, status: &Status) -> Failure {
        let message = status.message();
        if let Some((_, failure)) = TEXTS.iter().find(|(text, _)| message.contains(text)) {
            return failure.clone();
        }
        if let Some(problem) = file(status) {
            return Failure::File { problem };
        }
        let problem = said(status);
        if DENIALS.iter().any(|text| message.contains(text)) {
            return Failure::Denied { problem };
        }
        let member = member.clone();
        match status.code() {
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss => Failure::Refused { member, problem },
            Code::PermissionDenied | Code::Unauthenticated => Failure::Denied { problem },
            _ => Failure::Away { member, problem },
        }
    }

    /// The store is closed already.
    pub(super) fn closed() -> Failure {
        Failure::Away {
            member: "this server".into(),
            problem: "the store is closed".to_owned(),
        }
    }

    /// Whether another member, or the same one later, may answer.
    pub(super) fn is_transient(&self) -> bool {
        // A file may be about to be replaced.
        matches!(
            self,
            Failure::Away { .. } | Failure::OtherCluster { .. } | Failure::File { .. }
        )
    }

    /// The failure as the store's.
    pub(super) fn into_store_error(self, store: &Arc<str>) -> StoreError {
        let store = store.clone();
        match self {
            Failure::NoSpace => StoreError::Quota { store },
            Failure::File { problem } => StoreError::Credentials { store, problem },
            Failure::Denied { problem } => StoreError::Denied { store, problem },
            Failure::Token => StoreError::Denied {
                store,
                problem: self.to_string(),
            },
            other => StoreError::Unreachable {
                store,
                problem: other.to_string(),
            },
        }
    }
}

/// The causes of a status, from the outermost one.
fn causes(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(status.source(), |&error| error.source())
}

/// What is wrong with a file of this side, if that is the cause.
fn file(status: &Status) -> Option<String> {
    let found = causes(status).find_map(|cause| cause.downcast_ref::<FilesError>())?;
    let source = found.source().map(|source| format!(": {source}"));
    Some(format!("{}{}", found.what(), source.unwrap_or_default()))
}

/// What a status says: the innermost cause, since what is around it says only that a transport failed.
fn said(status: &Status) -> String {
    let inner = causes(status).last().map(ToString::to_string);
    inner.unwrap_or_else(|| {
        let message = status.message().trim_start_matches("etcdserver: ");
        match message {
            "" => status.code().description().to_owned(),
            message => message.to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_what_is_to_be_done() {
        use Code::*;
        let member: Arc<str> = "a:1".into();
        let away = |problem: &str| Failure::Away {
            member: "a:1".into(),
            problem: problem.to_owned(),
        };
        let denied = |problem: &str| Failure::Denied {
            problem: problem.to_owned(),
        };
        for (code, message, expected) in [
            (
                Unavailable,
                "etcdserver: request timed out",
                away("request timed out"),
            ),
            (Unavailable, "etcdserver: no leader", away("no leader")),
            (
                ResourceExhausted,
                "etcdserver: too many requests",
                away("too many requests"),
            ),
            (
                ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                Failure::NoSpace,
            ),
            (
                InvalidArgument,
                "etcdserver: request is too large",
                Failure::TooLarge,
            ),
            (
                ResourceExhausted,
                "grpc: received message larger than max (2098188 vs. 2097152)",
                Failure::TooLarge,
            ),
            (
                InvalidArgument,
                "etcdserver: too many operations in txn request",
                Failure::TooManyOps,
            ),
            (
                OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                Failure::Compacted,
            ),
            (
                Unauthenticated,
                "etcdserver: invalid auth token",
                Failure::Token,
            ),
            (
                PermissionDenied,
                "etcdserver: permission denied",
                denied("permission denied"),
            ),
            (
                InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                denied("authentication failed, invalid user ID or password"),
            ),
            (
                InvalidArgument,
                "etcdserver: user name is empty",
                denied("user name is empty"),
            ),
            // A limit of this side has the code of a compaction.
            (
                OutOfRange,
                "decoded message length too large",
                Failure::Refused {
                    member: "a:1".into(),
                    problem: "decoded message length too large".into(),
                },
            ),
        ] {
            let failure = Failure::of(&member, &Status::new(code, message));
            assert_eq!(failure, expected, "{message}");
        }
    }
}
