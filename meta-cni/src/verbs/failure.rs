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
use crate::device::DeviceError;
use crate::ipam::failure::IpamFailure;
use crate::journal::without_learned;
use crate::lease::LeaseError;
use crate::plugin_failure;
use crate::plugins::DELEGATE_FAILED;
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

/// What to do about a plugin that was stopped at its deadline.
const MORE_TIME: &str = "see why it hangs, or raise delegateTimeoutSeconds (one plugin) or verbTimeoutSeconds (the whole call)";
/// What to do about a plugin that was not called because the time of the call was over.
const MORE_TIME_OF_CALL: &str = "see which plugin took long, or raise verbTimeoutSeconds";

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "networks of pods cannot be looked up: the configuration, for example one that thick Multus generated, names no \
         kubeconfig or networksDir, and this node has no agent; add one of these keys, or run meta-cnid"
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
    #[error("looking up the pod")]
    Pod(#[source] ClusterError),
    #[error(transparent)]
    Problems(#[from] Problems),
    #[error("devices")]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{}", join(.0))]
    Undeleted(Vec<RunError>),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error("default route")]
    Route(#[source] RouteError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Settle(#[from] SettleError),
    #[error(
        "the default network's result cannot be told in cniVersion {version}; set a newer cniVersion in meta-cni's configuration"
    )]
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
    #[error("sandbox {container_id} is attached already; DEL it first")]
    AlreadyAttached { container_id: String },
    #[error("nothing is recorded for container {container_id}; ADD was never done, or DEL was")]
    NotRecorded { container_id: String },
    #[error("the ADD of this sandbox was not completed; DEL it")]
    Incomplete,
    #[error("network {network} ({ifname}): {problem}")]
    Check {
        network: String,
        ifname: String,
        problem: String,
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
    #[error("the time of the call is over (verbTimeoutSeconds); the next GC collects the rest")]
    NoTime,
    #[error(transparent)]
    ValidAttachments(#[from] WrongList),
    #[error("not available: {reason}")]
    NotAvailable { reason: String },
    #[error("the default network's plugin is not available")]
    DefaultNotAvailable(#[source] ChainError),
    #[error("{}", .0.iter().map(|failure| with_causes(failure)).collect::<Vec<_>>().join("; "))]
    Several(Vec<Failure>),
    #[error("the record was not readable and is now {}; what it had attached must be removed by hand or by the network's own garbage collection", .aside.display())]
    SetAside {
        aside: PathBuf,
        #[source]
        source: RecordError,
    },
}

fn join(errors: &[RunError]) -> String {
    errors
        .iter()
        .map(|error| with_causes(error))
        .collect::<Vec<_>>()
        .join("; ")
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

    /// The failure, all of its causes and what to do in one line, for an Event and the journal.
    pub(super) fn line(&self) -> String {
        without_learned(&(one_line(&with_causes(self)) + &self.remedy()))
    }

    /// What to do, behind a semicolon, about the failure of a plugin whose message does not say it.
    fn remedy(&self) -> String {
        let cause = match self {
            Failure::Run(error) => Some(&error.source),
            Failure::Undeleted(errors) => errors.first().map(|error| &error.source),
            Failure::NetworkGc { source, .. } => Some(source),
            Failure::Several(failures) => {
                return failures.first().map_or_else(String::new, Failure::remedy);
            }
            _ => None,
        };
        let remedy = match cause {
            Some(ChainError::Plugin { plugin, source, .. }) => match source.as_ref() {
                PluginError::TimedOut { .. } => Some(MORE_TIME),
                PluginError::NoTimeLeft { .. } => Some(MORE_TIME_OF_CALL),
                error if matches!(self, Failure::Run(_)) => {
                    plugin_failure::remedy(plugin, &error.to_string())
                }
                _ => None,
            },
            _ => None,
        };
        remedy.map_or_else(String::new, |remedy| format!("; {remedy}"))
    }

    /// The error object: verb and pod first, the whole chain in one line, what to do last; what does not fit into
    /// the line goes to the details.
    pub(super) fn to_object(&self, request: &Request) -> ErrorObject {
        let verb = request.env.command.as_str();
        let subject = match PodRef::named_by(&request.env.args) {
            Some(pod) => format!("{verb} of pod {pod}"),
            None => verb.to_owned(),
        };
        let text = without_learned(&one_line(&format!("{subject}: {}", with_causes(self))));
        let mut object = ErrorObject::new(self.code(), text).in_version(request.version);
        let remedy = self.remedy();
        if let Some(rest) = cut(&mut object.msg, LINE_BYTES - remedy.len()) {
            object.details = format!("…{rest}");
        }
        object.msg += &remedy;
        cut(&mut object.details, DETAILS_BYTES);
        object
    }
}

/// Cuts `text` to at most `bytes`, the last of which are an ellipsis, and gives what was cut off.
fn cut(text: &mut String, bytes: usize) -> Option<String> {
    if text.len() <= bytes {
        return None;
    }
    let rest = text.split_off(text.floor_char_boundary(bytes - '…'.len_utf8()));
    text.push('…');
    Some(rest)
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
