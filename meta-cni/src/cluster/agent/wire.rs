//! What agent.v1 carries, to and from the values of `cluster`. Both ends use it: the plugin and the agent.

use cni::error::with_causes;
use proto::agent::v1 as wire;
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};

use crate::cluster::{
    ClusterError, Event, EventReason, GRANT_RIGHTS, Nad, NadName, Pod, PodRef, Policy,
};

/// A failure as its variant's fields, in the details of a status. Its being there tells that the agent itself answered,
/// and not the transport.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Details {
    what: String,
    remedy: String,
    cause: String,
}

/// What an error of the agent's side was caused by.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

/// The status that tells an error.
pub fn to_status(error: &ClusterError) -> Status {
    let (code, details) = match error {
        ClusterError::NotFound { what } => (Code::NotFound, details(what, "", None)),
        ClusterError::Replaced { what } => (Code::FailedPrecondition, details(what, "", None)),
        ClusterError::Forbidden {
            what,
            remedy,
            source,
        } => (
            Code::PermissionDenied,
            details(what, remedy, Some(source.as_ref())),
        ),
        ClusterError::Unavailable {
            what,
            remedy,
            source,
        } => (
            Code::Unavailable,
            details(what, remedy, Some(source.as_ref())),
        ),
        ClusterError::Invalid { what, source } => (
            Code::InvalidArgument,
            details(what, "", Some(source.as_ref())),
        ),
    };
    Status::with_details(code, with_causes(error), details.into())
}

fn details(
    what: &str,
    remedy: &str,
    source: Option<&(dyn std::error::Error + Send + Sync + 'static)>,
) -> Vec<u8> {
    let details = Details {
        what: what.to_owned(),
        remedy: remedy.to_owned(),
        cause: source.map(|source| with_causes(source)).unwrap_or_default(),
    };
    // Three strings always make JSON; without them the status still has its message.
    serde_json::to_vec(&details).unwrap_or_default()
}

/// The error that a status tells; nothing if it is not one of these.
pub(crate) fn from_status(status: &Status) -> Option<ClusterError> {
    let details: Details = serde_json::from_slice(status.details()).ok()?;
    Some(error(status.code(), details, status.message()))
}

/// Whether such a status was an answer, and not the transport's failure or an agent's end.
pub(crate) fn is_answer(status: &Status) -> bool {
    // Only what the transport reports has a cause.
    let is_broken = std::error::Error::source(status).is_some();
    !is_broken && !matches!(status.code(), Code::Unavailable | Code::Cancelled)
}

fn error(code: Code, details: Details, message: &str) -> ClusterError {
    let Details {
        what,
        remedy,
        cause,
    } = details;
    let source = Box::new(Cause(cause));
    match code {
        Code::NotFound => ClusterError::NotFound { what },
        Code::FailedPrecondition => ClusterError::Replaced { what },
        Code::PermissionDenied => ClusterError::Forbidden {
            what,
            // An earlier agent names none: it knows of rights only.
            remedy: match remedy.is_empty() {
                true => GRANT_RIGHTS.to_owned(),
                false => remedy,
            },
            source,
        },
        Code::Unavailable => ClusterError::Unavailable {
            what,
            remedy,
            source,
        },
        Code::InvalidArgument => ClusterError::Invalid { what, source },
        _ => ClusterError::Invalid {
            what: "the agent's answer".to_owned(),
            source: Box::new(Cause(message.to_owned())),
        },
    }
}

/// A problem of one network, as [`to_status`] would tell it.
pub fn to_problem(error: &ClusterError) -> wire::Problem {
    let status = to_status(error);
    wire::Problem {
        code: status.code().into(),
        message: String::from_utf8_lossy(status.details()).into_owned(),
    }
}

fn from_problem(problem: &wire::Problem) -> ClusterError {
    let details = serde_json::from_str(&problem.message).unwrap_or_default();
    error(Code::from(problem.code), details, &problem.message)
}

pub(crate) fn to_pod_ref(pod: &PodRef) -> wire::PodRef {
    wire::PodRef {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone().unwrap_or_default(),
    }
}

/// The pod that a message names.
pub fn from_pod_ref(pod: wire::PodRef) -> PodRef {
    PodRef {
        namespace: pod.namespace,
        name: pod.name,
        uid: Some(pod.uid).filter(|uid| !uid.is_empty()),
    }
}

pub(crate) fn to_name(name: &NadName) -> wire::NetworkName {
    wire::NetworkName {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    }
}

/// The network that a message names.
pub fn from_name(name: wire::NetworkName) -> NadName {
    NadName {
        namespace: name.namespace,
        name: name.name,
    }
}

/// A pod as the agent answers with it.
pub fn to_pod(pod: Pod) -> wire::Pod {
    let to_resource = |(resource, ids)| wire::ResourceDevices { resource, ids };
    wire::Pod {
        namespace: pod.namespace,
        name: pod.name,
        uid: pod.uid,
        annotations: pod.annotations,
        resources: pod.resources,
        devices: pod.devices.map(|devices| wire::Devices {
            resources: devices.into_iter().map(to_resource).collect(),
        }),
    }
}

pub(crate) fn from_pod(pod: wire::Pod) -> Pod {
    let from_resource = |given: wire::ResourceDevices| (given.resource, given.ids);
    Pod {
        namespace: pod.namespace,
        name: pod.name,
        uid: pod.uid,
        node: String::new(),
        annotations: pod.annotations,
        resources: pod.resources,
        devices: pod
            .devices
            .map(|devices| devices.resources.into_iter().map(from_resource).collect()),
    }
}

/// What is known of a network, or why nothing is.
pub fn to_answer(name: &NadName, found: Result<Nad, ClusterError>) -> wire::NetworkAnswer {
    use wire::network_answer::Answer;
    wire::NetworkAnswer {
        name: Some(to_name(name)),
        answer: Some(match found {
            Ok(nad) => Answer::Network(wire::Network {
                config: nad.config,
                resource_name: nad.resource_name.unwrap_or_default(),
            }),
            Err(error) => Answer::Problem(to_problem(&error)),
        }),
    }
}

pub(crate) fn from_answer(
    answer: wire::NetworkAnswer,
) -> Option<(NadName, Result<Nad, ClusterError>)> {
    use wire::network_answer::Answer;
    let name = from_name(answer.name?);
    let found = match answer.answer? {
        Answer::Network(network) => Ok(Nad {
            name: name.clone(),
            config: network.config,
            resource_name: Some(network.resource_name).filter(|name| !name.is_empty()),
        }),
        Answer::Problem(problem) => Err(from_problem(&problem)),
    };
    Some((name, found))
}

/// The policies of namespaces, or why they are not known.
pub fn to_policies(found: Result<Vec<(String, Vec<Policy>)>, ClusterError>) -> wire::Policies {
    let to_policy = |Policy { name, spec }| wire::Policy { name, spec };
    match found {
        Ok(found) => wire::Policies {
            namespaces: found
                .into_iter()
                .map(|(namespace, policies)| wire::NamespacePolicies {
                    namespace,
                    policies: policies.into_iter().map(to_policy).collect(),
                })
                .collect(),
            problem: None,
        },
        Err(error) => wire::Policies {
            namespaces: Vec::new(),
            problem: Some(to_problem(&error)),
        },
    }
}

pub(crate) fn from_policies(
    told: wire::Policies,
) -> Result<Vec<(String, Vec<Policy>)>, ClusterError> {
    if let Some(problem) = told.problem {
        return Err(from_problem(&problem));
    }
    let from_policy = |wire::Policy { name, spec }| Policy { name, spec };
    let all = told.namespaces.into_iter();
    Ok(all
        .map(|one| {
            (
                one.namespace,
                one.policies.into_iter().map(from_policy).collect(),
            )
        })
        .collect())
}

pub(crate) fn to_event(event: &Event) -> wire::Event {
    wire::Event {
        reason: event.reason.as_str().to_owned(),
        message: event.message.clone(),
    }
}

/// An Event of the closed list of reasons; nothing for another reason.
pub fn from_event(event: wire::Event) -> Option<Event> {
    Some(Event {
        reason: EventReason::parse(&event.reason)?,
        message: event.message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_the_same_on_both_sides() {
        let source = || Box::new(Cause("HTTP 503: busy".to_owned()));
        for error in [
            ClusterError::NotFound {
                what: "pod a/web".into(),
            },
            ClusterError::Replaced {
                what: "pod a/web".into(),
            },
            ClusterError::Forbidden {
                what: "get pod a/web".into(),
                remedy: "ask somebody".into(),
                source: source(),
            },
            ClusterError::Unavailable {
                what: "get pod a/web at https://api".into(),
                remedy: "is it up?".into(),
                source: source(),
            },
            ClusterError::Invalid {
                what: "network-status of pod a/web".into(),
                source: source(),
            },
        ] {
            let told = from_status(&to_status(&error)).expect("the agent answered");
            assert_eq!(with_causes(&told), with_causes(&error));
            assert_eq!(told.is_passing(), error.is_passing());
            let told = from_problem(&to_problem(&error));
            assert_eq!(with_causes(&told), with_causes(&error));
        }
    }

    #[test]
    fn a_failed_transport_is_not_an_answer() {
        for status in [
            Status::unavailable("connection reset"),
            Status::from_error(Box::new(std::io::Error::other("h2 protocol error"))),
        ] {
            assert!(from_status(&status).is_none() && !is_answer(&status));
        }
        // An agent of another version.
        let status = Status::unimplemented("no such method");
        assert!(from_status(&status).is_none() && is_answer(&status));
    }
}
