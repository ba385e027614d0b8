//! Why leasing failed, and the one place where that becomes a CNI code (reference: the reasons of
//! google.rpc.ErrorInfo with domain `ipam.meta-cni.io`).

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use cni::error::{Code, ErrorObject};
use cni::result::ResultError;
use cni::valid_attachments::WrongList;
use dial::files::FilesError;
use dial::refusal::Refusal;
use tonic::{Code as Grpc, Status};
use tonic_types::StatusExt;

use super::config::IpamConfigError;
use super::node_file::NodeFileError;
use crate::diagnosis::Explain;

/// 101: the address asked for is in none of the pools.
const NOT_IN_POOL: Code = Code(101);
/// 102: the address asked for is not for lease.
const RESERVED: Code = Code(102);
/// 103: somebody else has the address asked for.
const IN_USE: Code = Code(103);
/// 105: the attachment has a lease that was asked for differently.
const MISMATCH: Code = Code(105);

/// Why leasing failed.
#[derive(Debug, thiserror::Error)]
pub enum IpamFailure {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] IpamConfigError),
    /// The node's file cannot be used.
    #[error(transparent)]
    NodeFile(#[from] NodeFileError),
    /// The plugin was called for a configuration of another one.
    #[error("ipam.type is not meta-ipam")]
    NotOurs,
    /// GC: the list of valid attachments cannot be read.
    #[error(transparent)]
    ValidAttachments(#[from] WrongList),
    /// More addresses of one family are asked for than a lease has.
    #[error("{count} {family} addresses are asked for ({first}, {second}, …), and a lease has one")]
    TooManyAddresses {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// How many.
        count: usize,
        /// The first of them.
        first: IpAddr,
        /// The second.
        second: IpAddr,
    },
    /// Nobody answers.
    #[error("ipam-server at {server} cannot be reached")]
    Unreachable {
        /// Its address.
        server: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of `tls` cannot be used.
    #[error(transparent)]
    Files(#[from] WithoutRemedy<FilesError>),
    /// One side refuses the other one's certificate.
    #[error(transparent)]
    Certificate(#[from] WithoutRemedy<Refusal>),
    /// The server refused.
    #[error("{what}: {}", .status.message())]
    Refused {
        /// What was being done.
        what: String,
        /// Its answer.
        status: Box<Status>,
    },
    /// A release cannot be kept for later.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The result cannot be written in the configuration's version.
    #[error("the lease cannot be written in cniVersion of the configuration")]
    Result(#[from] ResultError),
    /// The server's answer makes no sense.
    #[error("the server's answer: {problem}")]
    Answer {
        /// What is wrong with it.
        problem: String,
    },
    /// CHECK: an address is not held.
    #[error("{address} is not leased to this container and interface")]
    NotHeld {
        /// The address of prevResult.
        address: String,
    },
    /// STATUS: a pool gives nothing any more.
    #[error("pool {pool} has no free {family} address")]
    Exhausted {
        /// Its name.
        pool: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
}

impl IpamFailure {
    /// The CNI code of ADD, DEL, CHECK and GC.
    pub fn code(&self) -> Code {
        match self {
            IpamFailure::Config(_)
            | IpamFailure::NodeFile(_)
            | IpamFailure::NotOurs
            | IpamFailure::Files(_)
            | IpamFailure::ValidAttachments(_)
            | IpamFailure::TooManyAddresses { .. } => Code::INVALID_NETWORK_CONFIG,
            IpamFailure::Certificate(refusal) if refusal.0.is_about_us() => {
                Code::PLUGIN_NOT_AVAILABLE
            }
            IpamFailure::Certificate(_) => Code::TRY_AGAIN_LATER,
            IpamFailure::Unreachable { .. } | IpamFailure::Exhausted { .. } => {
                Code::TRY_AGAIN_LATER
            }
            IpamFailure::Refused { status, .. } => of_status(status),
            IpamFailure::Queue(_) => Code::IO_FAILURE,
            IpamFailure::Result(_) => Code::INCOMPATIBLE_VERSION,
            IpamFailure::Answer { .. } => Code::INTERNAL,
            IpamFailure::NotHeld { .. } => Code::UNKNOWN_CONTAINER,
        }
    }

    /// The error object.
    pub fn to_object(&self) -> ErrorObject {
        ErrorObject::new(self.code(), self.diagnosis().to_string())
    }
}

impl Explain for IpamFailure {
    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            IpamFailure::Config(error) => return error.remedy(),
            IpamFailure::NodeFile(error) => return error.remedy(),
            IpamFailure::Files(error) => error.0.remedy()?,
            IpamFailure::Certificate(refusal) => return Some(refusal.0.remedy()),
            IpamFailure::TooManyAddresses { .. } => "name one of each family",
            IpamFailure::Unreachable { .. } => {
                "start it, or correct its address in the node's ipam.yaml"
            }
            IpamFailure::NotHeld { .. } => "delete the pod so that it gets a new lease",
            IpamFailure::Exhausted { .. } => "release leases or widen its ranges",
            IpamFailure::NotOurs
            | IpamFailure::ValidAttachments(_)
            | IpamFailure::Refused { .. }
            | IpamFailure::Queue(_)
            | IpamFailure::Result(_)
            | IpamFailure::Answer { .. } => return None,
        };
        Some(remedy.to_owned())
    }
}

/// An error of [`dial`], whose text has its remedy, without that: here it is a field.
#[derive(Debug)]
pub struct WithoutRemedy<E>(pub E);

impl fmt::Display for WithoutRemedy<FilesError> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what())
    }
}

impl fmt::Display for WithoutRemedy<Refusal> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what())
    }
}

impl<E: Error> Error for WithoutRemedy<E>
where
    WithoutRemedy<E>: fmt::Display,
{
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl From<FilesError> for IpamFailure {
    fn from(error: FilesError) -> IpamFailure {
        IpamFailure::Files(WithoutRemedy(error))
    }
}

impl From<Refusal> for IpamFailure {
    fn from(refusal: Refusal) -> IpamFailure {
        IpamFailure::Certificate(WithoutRemedy(refusal))
    }
}

fn of_status(status: &Status) -> Code {
    let reason = status
        .get_details_error_info()
        .map(|info| info.reason)
        .unwrap_or_default();
    match reason.as_str() {
        "INVALID_FIELD" | "POOL_NOT_FOUND" | "POOL_EXISTS" | "POOL_OVERLAP" => {
            Code::INVALID_NETWORK_CONFIG
        }
        "INVALID_ATTACHMENT" => Code::INVALID_ENVIRONMENT,
        "ADDRESS_NOT_IN_POOL" => NOT_IN_POOL,
        "ADDRESS_RESERVED" => RESERVED,
        "ADDRESS_IN_USE" => IN_USE,
        "REQUEST_MISMATCH" => MISMATCH,
        "STORE_CORRUPT" => Code::LIMITED_CONNECTIVITY,
        "DECODE" => Code::DECODING_FAILURE,
        _ if matches!(
            status.code(),
            Grpc::Unauthenticated | Grpc::PermissionDenied
        ) =>
        {
            Code::PLUGIN_NOT_AVAILABLE
        }
        _ => Code::TRY_AGAIN_LATER,
    }
}
/// A release that cannot be kept or found.
#[derive(Debug, thiserror::Error)]
#[error("keeping a release for later in {}", .path.display())]
pub struct QueueError {
    /// The file, or the folder of all.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}
