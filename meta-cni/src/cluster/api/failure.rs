//! Why one request to the API server failed, whether asking again can help, and what a person should
//! look at. The only place that turns failures of HTTP and TLS into [`ClusterError`].

use std::error::Error;
use std::io;
use std::time::Duration;

use dial::resolver::ResolveError;
use http::{HeaderMap, StatusCode};
use rustls::CertificateError;
use serde::Deserialize;

use crate::cluster::ClusterError;

/// What is kept of an answer's text: Events and CNI errors hold one line.
const MESSAGE_LIMIT: usize = 150;

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
}

/// Whether the same request should be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It would be answered as before.
    No,
    /// After a pause, at least as long as the server asks.
    After(Option<Duration>),
}

/// The parts of a metav1.Status that are looked at.
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
            message: shortened(&message),
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
                let passing = status.is_server_error()
                    // A server that has just started refuses everybody until it has read its own rules.
                    || *status == StatusCode::FORBIDDEN
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || (*status == StatusCode::CONFLICT && *about == About::Nothing);
                if passing {
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
            (StatusCode::FORBIDDEN, _) => ClusterError::Forbidden {
                what: format!("{verb} {object}"),
                source: Box::new(self),
            },
            (StatusCode::UNAUTHORIZED, _) => self.unavailable(question, server),
            _ if self.again() == Again::No => ClusterError::Invalid {
                what: format!("the request to {verb} {object}"),
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

    /// What a person should look at.
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
                _ => "the API server cannot answer now: look at its health and its log",
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
            // The words of apiserver's Preconditions.Check, which has no cause to look at.
            || said.message.contains("UID in precondition")
    };
    match status {
        StatusCode::NOT_FOUND if details.is_some_and(|details| !details.name.is_empty()) => {
            About::Object
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

fn shortened(text: &str) -> String {
    if text.len() <= MESSAGE_LIMIT {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MESSAGE_LIMIT)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, body: &str) -> Failure {
        let status = StatusCode::from_u16(status).unwrap();
        Failure::from_answer(status, &HeaderMap::new(), body.as_bytes())
    }

    fn status(reason: &str, message: &str, details: serde_json::Value) -> String {
        json!({"kind": "Status", "reason": reason, "message": message, "details": details})
            .to_string()
    }

    fn name(error: &ClusterError) -> &'static str {
        match error {
            ClusterError::NotFound { .. } => "NotFound",
            ClusterError::Replaced { .. } => "Replaced",
            ClusterError::Forbidden { .. } => "Forbidden",
            ClusterError::Unavailable { .. } => "Unavailable",
            ClusterError::Invalid { .. } => "Invalid",
        }
    }

    #[test]
    fn answers_become_errors_and_are_asked_again_only_when_that_helps() {
        let uid = json!({"name": "web", "causes": [{"field": "metadata.uid"}]});
        let question = Question {
            verb: "get",
            object: "pod default/web".into(),
        };
        for (case, status_code, body, expected, again) in [
            (
                "gone",
                404,
                status("NotFound", "no", json!({"name": "web"})),
                "NotFound",
                false,
            ),
            (
                "no such kind",
                404,
                "404 page not found".into(),
                "NotFound",
                false,
            ),
            (
                "rights",
                403,
                status("Forbidden", "no", json!(null)),
                "Forbidden",
                true,
            ),
            (
                "token",
                401,
                status("Unauthorized", "no", json!(null)),
                "Unavailable",
                false,
            ),
            (
                "uid, precondition",
                409,
                status(
                    "Conflict",
                    "Precondition failed: UID in precondition: a",
                    json!(null),
                ),
                "Replaced",
                false,
            ),
            (
                "uid, field",
                422,
                status("Invalid", "immutable", uid),
                "Replaced",
                false,
            ),
            (
                "other conflict",
                409,
                status("Conflict", "modified", json!({"name": "web"})),
                "Unavailable",
                true,
            ),
            (
                "other invalid",
                422,
                status("Invalid", "x", json!(null)),
                "Invalid",
                false,
            ),
            (
                "bad request",
                400,
                status("BadRequest", "x", json!(null)),
                "Invalid",
                false,
            ),
            ("throttled", 429, "slow down".into(), "Unavailable", true),
            ("broken", 500, "{".into(), "Unavailable", true),
            (
                "proxy",
                503,
                "<html>\n no\n</html>".into(),
                "Unavailable",
                true,
            ),
        ] {
            let failure = answer(status_code, &body);
            assert_eq!(failure.again() != Again::No, again, "{case}");
            let error = failure.into_error(&question, "https://api");
            assert_eq!(name(&error), expected, "{case}: {error}");
            assert!(error.to_string().contains("pod default/web"), "{case}");
        }
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_else_ignored() {
        for (value, seconds) in [("7", Some(7)), ("soon", None), ("-1", None)] {
            let headers = HeaderMap::from_iter([(
                http::header::RETRY_AFTER,
                http::HeaderValue::from_static(value),
            )]);
            let failure = Failure::from_answer(StatusCode::TOO_MANY_REQUESTS, &headers, b"");
            assert_eq!(
                failure.again(),
                Again::After(seconds.map(Duration::from_secs)),
                "{value}"
            );
        }
    }

    #[test]
    fn transport_failures_are_told_apart_however_deep_they_lie() {
        use io::{Error as Io, ErrorKind};
        use rustls::{AlertDescription, Error as Tls};
        let tls = |error| Io::other(Io::new(ErrorKind::InvalidData, error));
        for (case, error, expected, again) in [
            (
                "refused",
                Io::other(Io::from(ErrorKind::ConnectionRefused)),
                Transport::Refused,
                true,
            ),
            (
                "no route",
                Io::from(ErrorKind::HostUnreachable),
                Transport::Unreachable,
                true,
            ),
            (
                "reset",
                Io::from(ErrorKind::ConnectionReset),
                Transport::Broken,
                true,
            ),
            (
                "expired",
                tls(Tls::InvalidCertificate(CertificateError::Expired)),
                Transport::Expired,
                false,
            ),
            (
                "issuer",
                tls(Tls::InvalidCertificate(CertificateError::UnknownIssuer)),
                Transport::Untrusted,
                false,
            ),
            (
                "alert",
                tls(Tls::AlertReceived(AlertDescription::CertificateExpired)),
                Transport::Alert,
                false,
            ),
            (
                "not TLS",
                tls(Tls::General("x".into())),
                Transport::Broken,
                true,
            ),
        ] {
            let failure = Failure::from_transport(&error);
            assert!(
                matches!(&failure, Failure::Transport { kind, .. } if *kind == expected),
                "{case}: {failure:?}"
            );
            assert_eq!(failure.again() != Again::No, again, "{case}");
        }
    }

    #[test]
    fn a_long_answer_is_cut_at_a_character() {
        let failure = answer(500, &"ä".repeat(500));
        assert!(failure.to_string().len() < 200, "{failure}");
    }
}
