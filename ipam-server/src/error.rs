//! What can be wrong with a call to the address service. `service::status` maps it to a gRPC status; the
//! table is in docs/src/errors.md.

pub use ipam_core::error::Error as Refusal;
use ipam_core::log::StoreError;

/// Why a call is not answered as asked. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is asked for cannot be decided so.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// DECODE: the bytes of a request are not its message.
    #[error("the request cannot be decoded; is it of another version of ipam.v1? {problem}")]
    Undecodable {
        /// Where and why.
        problem: String,
    },
    /// REPORT_FIRST.
    #[error(
        "the store does not know yet what this node holds: it is new or was restored; report that (ReportHeld), then try again"
    )]
    ReportFirst {
        /// The store to report to.
        store: String,
    },
    /// COMPACTED.
    #[error("the history begins at revision {oldest}; {wanted} is no longer kept")]
    Compacted {
        /// What was asked for: `revision 7` or `time …`.
        wanted: String,
        /// The oldest that is kept.
        oldest: u64,
    },
    /// OTHER_STORE.
    #[error(
        "revisions of store {given} mean nothing here: the store is {present}, at revision {revision} (restored from a backup, or new); list again, and watch from there"
    )]
    OtherStore {
        /// The store that the caller saw.
        given: String,
        /// The store.
        present: String,
        /// Its last revision.
        revision: u64,
    },
    /// REVISION_AHEAD.
    #[error(
        "the store is at revision {present} and has no revision {wanted} yet; list again, and watch from there"
    )]
    RevisionAhead {
        /// What was asked for.
        wanted: u64,
        /// The last revision.
        present: u64,
    },
    /// BAD_TOKEN.
    #[error("page_token is not one that this server returned for this request; begin without one")]
    BadToken,
    /// NO_IDENTITY.
    #[error(
        "{operation} needs an identity: a client certificate that --policy of ipam-server names, or root on its Unix socket"
    )]
    NoIdentity {
        /// What was asked for.
        operation: &'static str,
    },
    /// NO_IDENTITY: a token that the API server does not know, or that is for another audience.
    #[error(
        "the bearer token is not one for audience ipam.meta-cni.io, or has ended; request a new one"
    )]
    BadBearer,
    /// TOKEN_REVIEW: the API server did not say whose a token is.
    #[error("the API server did not review the bearer token; try again")]
    Unreviewed,
    /// NOT_ALLOWED: the caller's roles do not allow it.
    #[error("{who} has {roles}, which does not allow {operation}; {remedy}")]
    NotAllowed {
        /// The caller.
        who: String,
        /// Its roles.
        roles: String,
        /// What was asked for.
        operation: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// NOT_ALLOWED: a reclaimer would end too many leases.
    #[error(
        "{missed} of {all} leases are not listed, and reclaimers end at most {most} an hour, of which {ended} have ended: check the list, or let an operator reclaim"
    )]
    TooManyMissed {
        /// Leases that the request does not list.
        missed: u64,
        /// Leases that it is about.
        all: u64,
        /// The most that may be missed.
        most: u64,
        /// What ended within the last hour.
        ended: u64,
    },
    /// The deadline of the caller passed before the change was written. Nothing has changed.
    #[error("the caller's deadline passed before the change was written; nothing has changed")]
    DeadlineExceeded,
    /// BROKEN: the system gives the server less than it needs to start.
    #[error("{what}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::sync::Arc<std::io::Error>,
    },
    /// UNAVAILABLE: the server is stopping.
    #[error("the server is stopping; try again")]
    Stopping,
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::Refused(Refusal::Store(error))
    }
}

impl Error {
    /// A [`Refusal::InvalidFields`] of one field.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Refused(Refusal::field(field, problem))
    }

    /// The reason of `google.rpc.ErrorInfo`, domain `ipam.meta-cni.io`.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Refused(refusal) => refusal.reason(),
            Error::Undecodable { .. } => "DECODE",
            Error::ReportFirst { .. } => "REPORT_FIRST",
            Error::Compacted { .. } => "COMPACTED",
            Error::OtherStore { .. } => "OTHER_STORE",
            Error::RevisionAhead { .. } => "REVISION_AHEAD",
            Error::BadToken => "BAD_TOKEN",
            Error::NoIdentity { .. } | Error::BadBearer => "NO_IDENTITY",
            Error::Unreviewed => "TOKEN_REVIEW",
            Error::NotAllowed { .. } | Error::TooManyMissed { .. } => "NOT_ALLOWED",
            Error::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Error::System { .. } => "BROKEN",
            Error::Stopping => "STOPPING",
        }
    }
}
