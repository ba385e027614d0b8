//! Reports: the PATCH of network-status, and the Events.

use super::super::requests::ANNOTATIONS_LIMIT;
use super::*;

#[test]
fn a_report_is_one_patch_and_the_events() {
    let server = Server::start(|_, _| Reply::Json(201, json!({})));
    let events = [event("one"), event("two")];
    server
        .cluster()
        .cluster
        .report(&web_pod(), Some("[]"), &events)
        .unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    let patch = seen.iter().find(|seen| seen.is("patch")).unwrap();
    assert!(
        patch.is("patch /api/v1/namespaces/default/pods/web/status http"),
        "{patch:?}"
    );
    assert!(
        patch
            .headers
            .iter()
            .any(|h| h == "content-type: application/merge-patch+json")
    );
    assert_eq!(
        serde_json::from_str::<Value>(&patch.body).unwrap(),
        json!({"metadata": {"uid": "u-1", "annotations": {NETWORK_STATUS: "[]"}}})
    );
    let posts: Vec<Value> = seen
        .iter()
        .filter(|seen| seen.is("post /api/v1/namespaces/default/events http"))
        .map(|seen| serde_json::from_str(&seen.body).unwrap())
        .collect();
    assert_eq!(posts.len(), 2);
    assert_ne!(posts[0]["metadata"]["name"], posts[1]["metadata"]["name"]);
    assert_eq!(posts[0]["reportingInstance"], "node-1");
}

#[test]
fn a_status_is_written_only_if_it_changed() {
    let server = Server::start(|_, _| Reply::Json(200, json!({})));
    let mut pod = web_pod();
    pod.annotations.insert(NETWORK_STATUS.into(), "[]".into());
    let subject = server.cluster();
    subject.cluster.report(&pod, Some("[]"), &[]).unwrap();
    subject.cluster.report(&pod, None, &[]).unwrap();
    assert!(server.seen().is_empty());
    subject.cluster.report(&pod, Some("[{}]"), &[]).unwrap();
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_status_that_is_too_large_is_refused_and_no_interface_is_reported() {
    let server = Server::start(|_, _| Reply::Json(201, json!({})));
    let mut pod = web_pod();
    pod.annotations.insert("other".into(), "x".repeat(1_000));
    pod.annotations
        .insert(NETWORK_STATUS.into(), "y".repeat(5_000));
    let room = ANNOTATIONS_LIMIT - 1_005 - NETWORK_STATUS.len();
    let subject = server.cluster();
    subject
        .cluster
        .report(&pod, Some(&"z".repeat(room)), &[])
        .unwrap();
    let error = subject
        .cluster
        .report(&pod, Some(&"z".repeat(room + 1)), &[event("one")])
        .unwrap_err();
    assert!(matches!(error, ClusterError::Invalid { .. }), "{error}");
    let lines: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.line[..4].to_owned())
        .collect();
    assert_eq!(lines, ["patc"]);
}

#[test]
fn a_failed_patch_says_what_became_of_the_pod() {
    for (case, reply, expected, requests) in [
        (
            "gone",
            (|| status(404, "NotFound", "no")) as fn() -> Reply,
            "NotFound",
            1,
        ),
        (
            "made again",
            || {
                status(
                    409,
                    "Conflict",
                    "Precondition failed: UID in precondition: a",
                )
            },
            "Replaced",
            1,
        ),
        (
            "not allowed",
            || status(403, "Forbidden", "no"),
            "Forbidden",
            3,
        ),
    ] {
        let server = Server::start(move |_, _| reply());
        let error = server
            .cluster()
            .cluster
            .report(&web_pod(), Some("[]"), &[])
            .unwrap_err();
        assert!(
            format!("{error:?}").starts_with(expected),
            "{case}: {error:?}"
        );
        assert_eq!(server.seen().len(), requests, "{case}");
    }
}

#[test]
fn a_server_that_has_just_started_and_refuses_everybody_is_asked_again() {
    let server = Server::start(|_, before| match before {
        0 | 1 => status(403, "Forbidden", "no"),
        _ => Reply::Json(200, json!({})),
    });
    let subject = server.cluster();
    subject.cluster.report(&web_pod(), Some("[]"), &[]).unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn a_conflict_that_is_not_about_the_uid_is_tried_again() {
    let server = Server::start(|_, before| match before {
        0 => status(409, "Conflict", "the object has been modified"),
        _ => Reply::Json(200, json!({})),
    });
    server
        .cluster()
        .cluster
        .report(&web_pod(), Some("[]"), &[])
        .unwrap();
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn events_that_cannot_be_posted_are_no_error() {
    for (case, reply, requests) in [
        (
            "not allowed",
            (|| status(403, "Forbidden", "no")) as fn() -> Reply,
            2,
        ),
        ("broken", || status(500, "InternalError", "no"), 2),
        (
            "there already",
            || status(409, "AlreadyExists", "is there"),
            1,
        ),
    ] {
        let server = Server::start(move |_, _| reply());
        server
            .cluster()
            .cluster
            .report(&web_pod(), None, &[event("one")])
            .unwrap();
        assert_eq!(server.seen().len(), requests, "{case}");
    }
}
