//! What agent.v1 carries, to and from the values of `cluster`. Both ends use it: the plugin and the agent.

use std::error::Error;

use cni::error::with_causes;
use prost::Message as _;
use proto::agent::v1 as wire;
use tonic::{Code, Status};

use crate::cluster::{ClusterError, Event, EventReason, Nad, NadName, Pod, PodRef, Policy};
use crate::diagnosis::{Diagnosis, Explain as _};

/// Why the agent's side failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

/// The status of an error: its details are the problem.
pub fn to_status(error: &ClusterError) -> Status {
    let problem = to_problem(error);
    let message = error.diagnosis().to_string();
    Status::with_details(code(error), message, problem.encode_to_vec().into())
}

/// The problem of one question.
pub fn to_problem(error: &ClusterError) -> wire::Problem {
    let cause = error.source().map(with_causes);
    wire::Problem {
        code: code(error).into(),
        what: what(error).to_owned(),
        cause: cause.unwrap_or_default(),
        remedy: error.remedy().unwrap_or_default(),
    }
}

fn code(error: &ClusterError) -> Code {
    match error {
        ClusterError::NotFound { .. } => Code::NotFound,
        ClusterError::Replaced { .. } => Code::FailedPrecondition,
        ClusterError::Forbidden { .. } => Code::PermissionDenied,
        ClusterError::Unavailable { .. } => Code::Unavailable,
        ClusterError::Invalid { .. } => Code::InvalidArgument,
    }
}

fn what(error: &ClusterError) -> &str {
    match error {
        ClusterError::NotFound { what }
        | ClusterError::Replaced { what }
        | ClusterError::Forbidden { what, .. }
        | ClusterError::Unavailable { what, .. }
        | ClusterError::Invalid { what, .. } => what,
    }
}

/// The error of a status; nothing if the agent itself did not answer: only its statuses have a problem in their details.
pub(crate) fn from_status(status: &Status) -> Option<ClusterError> {
    let problem = wire::Problem::decode(status.details()).ok()?;
    (problem.code == i32::from(status.code())).then(|| from_problem(problem))
}

/// Whether such a status was an answer, and not the transport's failure or an agent's end.
pub(crate) fn is_answer(status: &Status) -> bool {
    // Only what the transport reports has a cause.
    let is_broken = Error::source(status).is_some();
    !is_broken && !matches!(status.code(), Code::Unavailable | Code::Cancelled)
}

fn from_problem(problem: wire::Problem) -> ClusterError {
    let wire::Problem {
        code,
        what,
        cause,
        remedy,
    } = problem;
    let source = Box::new(Cause(cause));
    match Code::from(code) {
        Code::NotFound => ClusterError::NotFound { what },
        Code::FailedPrecondition => ClusterError::Replaced { what },
        Code::PermissionDenied => ClusterError::Forbidden {
            what,
            remedy,
            source,
        },
        Code::Unavailable => ClusterError::Unavailable {
            what,
            remedy,
            source,
        },
        _ => ClusterError::Invalid {
            what,
            remedy: Some(remedy).filter(|remedy| !remedy.is_empty()),
            source,
        },
    }
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
        Answer::Problem(problem) => Err(from_problem(problem)),
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
    answer: wire::Policies,
) -> Result<Vec<(String, Vec<Policy>)>, ClusterError> {
    if let Some(problem) = answer.problem {
        return Err(from_problem(problem));
    }
    let from_policy = |wire::Policy { name, spec }| Policy { name, spec };
    let all = answer.namespaces.into_iter();
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
        message: event.note.cause.clone(),
        remedy: event.note.remedy.clone().unwrap_or_default(),
    }
}

/// An Event of the closed list of reasons; nothing for another reason.
pub fn from_event(event: wire::Event) -> Option<Event> {
    Some(Event {
        reason: EventReason::parse(&event.reason)?,
        note: Diagnosis {
            cause: event.message,
            remedy: Some(event.remedy).filter(|remedy| !remedy.is_empty()),
        },
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
                remedy: Some("make it shorter".into()),
                source: source(),
            },
        ] {
            let status = to_status(&error);
            assert_eq!(status.message(), error.diagnosis().to_string());
            let received = from_status(&status).expect("the agent answered");
            assert_eq!(received.diagnosis(), error.diagnosis());
            assert_eq!(received.is_transient(), error.is_transient());
            let received = from_problem(to_problem(&error));
            assert_eq!(received.diagnosis(), error.diagnosis());
        }
    }

    #[test]
    fn each_field_of_a_problem_is_text_for_a_person() {
        let problem = to_problem(&ClusterError::Unavailable {
            what: "get pod a/web at https://api".into(),
            remedy: "is it up?".into(),
            source: Box::new(Cause("HTTP 503: busy".to_owned())),
        });
        assert_eq!(problem.what, "get pod a/web at https://api");
        assert_eq!(problem.cause, "HTTP 503: busy");
        assert_eq!(problem.remedy, "is it up?");
    }

    #[test]
    fn an_event_is_the_same_on_both_sides() {
        for note in [Diagnosis::new("no route", "add one"), "done".into()] {
            let event = Event {
                reason: EventReason::FailedAttach,
                note,
            };
            assert_eq!(from_event(to_event(&event)), Some(event));
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
