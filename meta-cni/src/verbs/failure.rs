//! Why a verb failed, and the one place where that becomes a CNI error object: code, one line, details.

use std::path::PathBuf;

use cni::chain::ChainError;
use cni::error::{Code, ErrorObject, one_line, with_causes};
use cni::plugins::PluginError;
use cni::result::ResultError;
use cni::skel::Request;
use cni::valid_attachments::WrongList;
use netlink::netns::NetnsError;

use crate::cluster::{ClusterError, PodRef};
use crate::config::ConfigError;
use crate::delegates::DELEGATE_FAILED;
use crate::device::DeviceError;
use crate::diagnosis::{Diagnosis, Explain, cut};
use crate::ipam::failure::IpamFailure;
use crate::journal::without_learned;
use crate::lease::LeaseError;
use crate::problem::Problems;
use crate::record::{LockError, MultusError, RecordError};
use crate::route::RouteError;
use crate::run::RunError;
use crate::settle::SettleError;
use crate::snapshot::SnapshotError;

/// The longest line that `kubectl describe pod` shows well.
const LINE_BYTES: usize = 300;
/// The most that is said beyond that line: an annotation can have a hundred thousand mistakes.
const DETAILS_BYTES: usize = 16 << 10;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "networks of pods cannot be read: the configuration, for example one that thick Multus generated, names no \
         kubeconfig or networksDir, and this node has no agent"
    )]
    NoSourceOfNetworks,
    #[error("CNI_NETNS")]
    Netns(#[source] NetnsError),
    #[error("readinessindicatorfile {} is not there after {seconds}s; the default network is not ready on this node", .path.display())]
    NotReady { path: PathBuf, seconds: u64 },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Multus(#[from] MultusError),
    #[error("reading the pod")]
    Pod(#[source] ClusterError),
    #[error(transparent)]
    Problems(#[from] Problems),
    #[error("devices")]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{}", together(.0).cause)]
    Undeleted(Vec<RunError>),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error("default route")]
    Route(#[source] RouteError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Settle(#[from] SettleError),
    #[error("the default network's result cannot be written in cniVersion {version}")]
    Result {
        version: cni::version::Version,
        #[source]
        source: ResultError,
    },
    #[error("writing network-status ({})", if *.undone { "all attachments were undone" } else { "not all attachments could be undone, DEL tries again" })]
    Report {
        undone: bool,
        #[source]
        source: ClusterError,
    },
    #[error("sandbox {container_id} is attached already")]
    AlreadyAttached { container_id: String },
    #[error("nothing is recorded for container {container_id}; ADD was never done, or DEL was")]
    NotRecorded { container_id: String },
    #[error("the ADD of this sandbox was not completed")]
    Incomplete,
    #[error("network {network} ({ifname}): {}", .problem.cause)]
    Check {
        network: String,
        ifname: String,
        problem: Diagnosis,
    },
    #[error("network {network}")]
    NetworkGc {
        network: String,
        #[source]
        source: ChainError,
    },
    #[error("network {network}")]
    LeaseGc {
        network: String,
        #[source]
        source: IpamFailure,
    },
    #[error("the time of the call is over (verbTimeoutSeconds)")]
    NoTime,
    #[error(transparent)]
    ValidAttachments(#[from] WrongList),
    #[error("not available: {}", .reason.cause)]
    NotAvailable { reason: Diagnosis },
    #[error("the default network's plugin is not available")]
    DefaultNotAvailable(#[source] ChainError),
    #[error("{}", together(.0).cause)]
    Several(Vec<Failure>),
    #[error("the record was not readable and is now {}", .aside.display())]
    SetAside {
        aside: PathBuf,
        #[source]
        source: RecordError,
    },
}

fn together<E: Explain>(errors: &[E]) -> Diagnosis {
    Diagnosis::of_several(errors.iter().map(Explain::diagnosis))
}

impl Failure {
    /// The code of the specification, or one of ours.
    pub(super) fn code(&self) -> Code {
        match self {
            Failure::Settle(SettleError::Duplicate { .. }) => Code::TRY_AGAIN_LATER,
            Failure::Netns(_) | Failure::Snapshot(_) | Failure::Settle(_) => Code::INVALID_NETNS,
            Failure::NotReady { .. } | Failure::Pod(_) | Failure::Report { .. } => {
                Code::TRY_AGAIN_LATER
            }
            Failure::Lock(LockError::Busy { .. }) => Code::TRY_AGAIN_LATER,
            Failure::Lock(LockError::Io { .. }) | Failure::Record(_) | Failure::Multus(_) => {
                Code::IO_FAILURE
            }
            Failure::SetAside { .. } => Code::DECODING_FAILURE,
            Failure::Problems(problems) => problems.code(),
            Failure::Device(DeviceError::NotGiven { .. } | DeviceError::NotAllowed { .. }) => {
                Code::INVALID_NETWORK_CONFIG
            }
            Failure::Device(_) => Code::TRY_AGAIN_LATER,
            Failure::Lease(error) => error.code(),
            Failure::Run(error) => chain_code(&error.source),
            Failure::Undeleted(errors) => errors
                .first()
                .map_or(DELEGATE_FAILED, |error| chain_code(&error.source)),
            Failure::Config(_)
            | Failure::NoSourceOfNetworks
            | Failure::Route(_)
            | Failure::Result { .. } => Code::INVALID_NETWORK_CONFIG,
            Failure::NotRecorded { .. } => Code::UNKNOWN_CONTAINER,
            Failure::AlreadyAttached { .. } => Code::INVALID_ENVIRONMENT,
            Failure::Incomplete | Failure::Check { .. } => DELEGATE_FAILED,
            Failure::NetworkGc { source, .. } => chain_code(source),
            Failure::LeaseGc { source, .. } => source.code(),
            Failure::NoTime => Code::TRY_AGAIN_LATER,
            Failure::ValidAttachments(_) => Code::INVALID_NETWORK_CONFIG,
            Failure::NotAvailable { .. } => Code::PLUGIN_NOT_AVAILABLE,
            Failure::DefaultNotAvailable(error) => match chain_code(error) {
                DELEGATE_FAILED | Code::TRY_AGAIN_LATER => Code::PLUGIN_NOT_AVAILABLE,
                code => code,
            },
            Failure::Several(failures) => failures.first().map_or(Code::INTERNAL, Failure::code),
        }
    }

    /// The error object: verb and pod first, the whole chain in one line, what to do last; what does not fit into
    /// the line goes to the details.
    pub(super) fn to_object(&self, request: &Request) -> ErrorObject {
        let verb = request.env.command.as_str();
        let subject = match PodRef::named_by(&request.env.args) {
            Some(pod) => format!("{verb} of pod {pod}"),
            None => verb.to_owned(),
        };
        let (msg, rest) = self.diagnosis().about(subject).within(LINE_BYTES);
        let mut object = ErrorObject::new(self.code(), msg).in_version(request.version);
        if let Some(rest) = rest {
            object.details = format!("…{rest}");
        }
        cut(&mut object.details, DETAILS_BYTES);
        object
    }
}

impl Explain for Failure {
    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Failure::Config(error) => return error.remedy(),
            Failure::Lock(error) => return error.remedy(),
            Failure::Record(error) => return error.remedy(),
            Failure::Multus(error) => return error.remedy(),
            Failure::Problems(problems) => return problems.remedy(),
            Failure::Device(error) => return error.remedy(),
            Failure::Run(error) => return error.remedy(),
            Failure::Undeleted(errors) => return together(errors).remedy,
            Failure::Lease(error) => return error.remedy(),
            Failure::Route(error) => return error.remedy(),
            Failure::Snapshot(error) => return error.remedy(),
            Failure::Settle(error) => return error.remedy(),
            Failure::Pod(source) | Failure::Report { source, .. } => return source.remedy(),
            Failure::Check { problem, .. } => return problem.remedy.clone(),
            Failure::NetworkGc { source, .. } => return source.remedy(),
            Failure::LeaseGc { source, .. } => return source.remedy(),
            Failure::NotAvailable { reason } => return reason.remedy.clone(),
            // The time of STATUS is its own, which no key changes.
            Failure::DefaultNotAvailable(error) if has_timed_out(error) => return None,
            Failure::DefaultNotAvailable(error) => return error.remedy(),
            Failure::Several(failures) => return together(failures).remedy,
            Failure::Netns(_)
            | Failure::NotReady { .. }
            | Failure::NotRecorded { .. }
            | Failure::ValidAttachments(_) => return None,
            Failure::NoSourceOfNetworks => "add one of these keys, or run meta-cnid",
            Failure::Result { .. } => "set a newer cniVersion in meta-cni's configuration",
            Failure::AlreadyAttached { .. } => "DEL it first",
            Failure::Incomplete => "DEL it",
            Failure::NoTime => "the next GC collects the rest",
            Failure::SetAside { .. } => {
                "what it had attached must be removed by hand or by the network's own garbage collection"
            }
        };
        Some(remedy.to_owned())
    }

    /// In one line, without secrets of the configurations that this process has read.
    fn diagnosis(&self) -> Diagnosis {
        let line = |text: &str| without_learned(&one_line(text));
        Diagnosis {
            cause: line(&with_causes(self)),
            remedy: self.remedy().as_deref().map(line),
        }
    }
}

fn has_timed_out(error: &ChainError) -> bool {
    use PluginError::{NoTimeLeft, TimedOut};
    match error {
        ChainError::Plugin { source, .. } => {
            matches!(**source, TimedOut { .. } | NoTimeLeft { .. })
        }
        _ => false,
    }
}

/// A delegate's own code passes through.
fn chain_code(error: &ChainError) -> Code {
    match error {
        ChainError::Plugin { source, .. } => match source.as_ref() {
            PluginError::Failed { object, .. } if object.code.0 != 0 => object.code,
            PluginError::TimedOut { .. } | PluginError::NoTimeLeft { .. } => Code::TRY_AGAIN_LATER,
            _ => DELEGATE_FAILED,
        },
        ChainError::Result { .. } => Code::DECODING_FAILURE,
        ChainError::PrevResult { .. } => Code::INVALID_NETWORK_CONFIG,
        _ => DELEGATE_FAILED,
    }
}

#[cfg(test)]
mod tests;
