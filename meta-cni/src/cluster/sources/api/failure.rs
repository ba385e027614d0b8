//! Why one request to the API server failed, whether asking again can help, and what a person should
//! check. The only place that turns failures of HTTP and TLS into [`ClusterError`].

use std::error::Error;
use std::io;
use std::time::Duration;

use dial::resolver::ResolveError;
use http::{HeaderMap, StatusCode};
use rustls::CertificateError;
use serde::Deserialize;

use crate::cluster::{ClusterError, GRANT_RIGHTS};

/// What is kept of an answer's text: Events and CNI errors hold one line.
const MESSAGE_LIMIT: usize = 150;

/// What to do where an admission policy refuses a request that our rights allow.
const CHANGE_TOKEN: &str =
    "use a token that is bound to this node (deploy/agent.yaml), or see the policy that refuses it";

/// How the API server begins the refusal of a policy, after the object's name.
const ADMISSION_POLICY: &str = "ValidatingAdmissionPolicy '";

/// What was asked of the API server, as it is named in errors.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// `get`, `patch`, `create`.
    pub(super) verb: &'static str,
    /// Kind and name, for example `pod default/web`.
    pub(super) object: String,
}

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing, or not all, was answered in time.
    #[error("no answer within {:.1} s", .limit.as_secs_f64())]
    TimedOut {
        /// The time that was given.
        limit: Duration,
    },
    /// The API server was not reached, or the connection broke.
    #[error("{detail}")]
    Transport {
        /// Which part of it failed.
        kind: Transport,
        /// The innermost error's text.
        detail: String,
    },
    /// An answer that is not a success.
    #[error("HTTP {status}: {message}")]
    Answer {
        /// The HTTP status.
        status: StatusCode,
        /// The API server's own words, shortened.
        message: String,
        /// What the answer is about, if it says.
        about: About,
        /// Retry-After.
        retry_after: Option<Duration>,
    },
}

/// How the API server was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// The name has no address.
    Name,
    /// Nothing listens.
    Refused,
    /// No route.
    Unreachable,
    /// The server's certificate is past its time, or this clock is wrong.
    Expired,
    /// The server's certificate is not from the authority that we trust, or for another name.
    Untrusted,
    /// The server does not take our certificate.
    Alert,
    /// Anything else: reset, closed, not HTTP.
    Broken,
}

/// Details of an answer that change what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A 404 about a kind or a path, not about one object; or nothing special.
    Nothing,
    /// A 404 about the object.
    Object,
    /// A 409 or 422 because the object's UID is not the one that the request holds.
    Uid,
    /// A 409 because an object of this name is there already.
    Exists,
    /// A 403 of a ValidatingAdmissionPolicy or an admission webhook.
    Admission,
}

/// Whether the same request should be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It would be answered as before.
    No,
    /// After a pause, at least as long as the server asks.
    After(Option<Duration>),
}

/// The parts of a metav1.Status that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    name: String,
    causes: Option<Vec<StatusCause>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StatusCause {
    field: String,
}

impl Failure {
    /// The failure that an answer other than a success is.
    pub(super) fn from_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        let said: Status = serde_json::from_slice(body).unwrap_or_default();
        let message = if said.message.is_empty() {
            let text = String::from_utf8_lossy(body);
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        } else {
            said.message.clone()
        };
        Failure::Answer {
            status,
            about: about(status, &said),
            message: shortened(words_of_policy(&message).unwrap_or(&message)),
            retry_after: headers
                .get(http::header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .map(Duration::from_secs),
        }
    }

    /// The failure of a connection.
    pub(super) fn from_transport(error: &(dyn Error + 'static)) -> Failure {
        let mut kind = Transport::Broken;
        let mut detail = error.to_string();
        let mut next = Some(error);
        while let Some(error) = next {
            detail = error.to_string();
            kind = part_that_failed(error).unwrap_or(kind);
            next = inner(error);
        }
        Failure::Transport {
            kind,
            detail: shortened(&detail),
        }
    }

    /// Whether to make the same request again.
    pub(super) fn again(&self) -> Again {
        match self {
            Failure::TimedOut { .. } => Again::After(None),
            Failure::Transport { kind, .. } => match kind {
                Transport::Expired | Transport::Untrusted | Transport::Alert => Again::No,
                _ => Again::After(None),
            },
            Failure::Answer {
                status,
                about,
                retry_after,
                ..
            } => {
                let is_transient = status.is_server_error()
                    // A server that has just started refuses everybody until it has read its own rules.
                    || (*status == StatusCode::FORBIDDEN && *about != About::Admission)
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || (*status == StatusCode::CONFLICT && *about == About::Nothing);
                if is_transient {
                    Again::After(*retry_after)
                } else {
                    Again::No
                }
            }
        }
    }

    /// The error that our caller gets.
    pub(super) fn into_error(self, question: &Question, server: &str) -> ClusterError {
        let Question { verb, object } = question;
        let Failure::Answer { status, about, .. } = &self else {
            return self.unavailable(question, server);
        };
        match (*status, *about) {
            (_, About::Uid) => ClusterError::Replaced {
                what: object.clone(),
            },
            (StatusCode::NOT_FOUND, About::Object) => ClusterError::NotFound {
                what: object.clone(),
            },
            (StatusCode::NOT_FOUND, _) => ClusterError::NotFound {
                what: format!(
                    "{object} (of a kind that {server} does not know: is its CRD applied?)"
                ),
            },
            (StatusCode::FORBIDDEN, about) => ClusterError::Forbidden {
                what: format!("{verb} {object}"),
                remedy: match about {
                    About::Admission => CHANGE_TOKEN,
                    _ => GRANT_RIGHTS,
                }
                .to_owned(),
                source: Box::new(self),
            },
            (StatusCode::UNAUTHORIZED, _) => self.unavailable(question, server),
            _ if self.again() == Again::No => ClusterError::Invalid {
                what: format!("the request to {verb} {object}"),
                remedy: None,
                source: Box::new(self),
            },
            _ => self.unavailable(question, server),
        }
    }

    fn unavailable(self, question: &Question, server: &str) -> ClusterError {
        ClusterError::Unavailable {
            what: format!("{} {} at {server}", question.verb, question.object),
            remedy: self.remedy().to_owned(),
            source: Box::new(self),
        }
    }

    /// What a person should check.
    fn remedy(&self) -> &'static str {
        match self {
            Failure::TimedOut { .. } => {
                "can this node reach the API server, and is the server overloaded?"
            }
            Failure::Transport { kind, .. } => match kind {
                Transport::Name => {
                    "check the server's name, /etc/hosts and /etc/resolv.conf of this node"
                }
                Transport::Refused => {
                    "nothing listens there: is the API server up, and the address right?"
                }
                Transport::Unreachable => "this node has no route there: check its network",
                Transport::Expired => {
                    "the API server's certificate is out of date: renew it, or correct this node's clock"
                }
                Transport::Untrusted => {
                    "the API server's certificate does not fit: check certificate-authority and the server's name"
                }
                Transport::Alert => {
                    "the API server does not take our certificate: has the client certificate expired?"
                }
                Transport::Broken => "the connection broke: is this the API server's address?",
            },
            Failure::Answer { status, .. } => match *status {
                StatusCode::UNAUTHORIZED => {
                    "the API server does not take our credentials: has the token or the client certificate expired?"
                }
                StatusCode::TOO_MANY_REQUESTS => "the API server is overloaded and asks to wait",
                _ => "the API server cannot answer now: check its health and its log",
            },
        }
    }
}

fn about(status: StatusCode, said: &Status) -> About {
    let details = said.details.as_ref();
    let blames_uid = || {
        let causes = details.and_then(|details| details.causes.as_ref());
        causes
            .into_iter()
            .flatten()
            .any(|cause| cause.field == "metadata.uid")
            // The words of apiserver's Preconditions.Check, which has no cause to read.
            || said.message.contains("UID in precondition")
    };
    match status {
        StatusCode::NOT_FOUND if details.is_some_and(|details| !details.name.is_empty()) => {
            About::Object
        }
        StatusCode::FORBIDDEN
            if said.message.contains(ADMISSION_POLICY)
                || said.message.contains("admission webhook") =>
        {
            About::Admission
        }
        StatusCode::CONFLICT if said.reason == "AlreadyExists" => About::Exists,
        StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY if blames_uid() => About::Uid,
        _ => About::Nothing,
    }
}

/// The error that caused `error`. An `io::Error` that wraps another does not name it as its source.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn part_that_failed(error: &(dyn Error + 'static)) -> Option<Transport> {
    if error.is::<ResolveError>() {
        return Some(Transport::Name);
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return match error {
            rustls::Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => Some(Transport::Expired),
            rustls::Error::InvalidCertificate(_) => Some(Transport::Untrusted),
            rustls::Error::AlertReceived(_) => Some(Transport::Alert),
            _ => None,
        };
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => Some(Transport::Refused),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some(Transport::Unreachable)
        }
        _ => None,
    }
}

/// The words of a policy that refuses a request: `pods "web" is forbidden: ValidatingAdmissionPolicy 'a' with binding 'a' denied
/// request: words`.
fn words_of_policy(message: &str) -> Option<&str> {
    let (_, of_policy) = message.split_once(ADMISSION_POLICY)?;
    let (_, words) = of_policy.split_once("denied request: ")?;
    Some(words)
}

fn shortened(text: &str) -> String {
    if text.len() <= MESSAGE_LIMIT {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MESSAGE_LIMIT)])
}

#[cfg(test)]
mod tests;
