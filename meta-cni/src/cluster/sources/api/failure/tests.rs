use super::*;
use crate::diagnosis::Explain as _;
use serde_json::json;

fn answer(status: u16, body: &str) -> Failure {
    let status = StatusCode::from_u16(status).unwrap();
    Failure::from_answer(status, &HeaderMap::new(), body.as_bytes())
}

fn status(reason: &str, message: &str, details: serde_json::Value) -> String {
    json!({"kind": "Status", "reason": reason, "message": message, "details": details}).to_string()
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
            "policy",
            403,
            status("Forbidden", POLICY, json!(null)),
            "Forbidden",
            false,
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

const POLICY: &str = "pods \"web\" is forbidden: ValidatingAdmissionPolicy 'meta-cni-own-pods' with binding 'meta-cni-own-pods' \
                      denied request: the pod is not on the node that the token is bound to";

#[test]
fn a_policy_is_not_taken_for_a_lack_of_rights_and_says_why_in_its_own_words() {
    let question = Question {
        verb: "patch",
        object: "network-status of pod default/web".into(),
    };
    let error = answer(403, &status("Forbidden", POLICY, json!(null)));
    let error = error.into_error(&question, "https://api");
    assert_eq!(
        error.diagnosis().to_string(),
        "patch network-status of pod default/web: not allowed: HTTP 403 Forbidden: the pod is not on the node that the token \
         is bound to; use a token that is bound to this node (deploy/agent.yaml), or see the policy that refuses it"
    );
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
fn transport_failures_are_reported_apart_however_deep_they_lie() {
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
