//! Our Events as core/v1 objects. Values in, JSON out.

use serde_json::{Value, json};

use crate::cluster::{Event, PodRef};

/// Who reports: shown as `From` by `kubectl describe`.
const COMPONENT: &str = "meta-cni";

/// The API server's limit of `message` (core/v1 Event, NoteLengthLimit in validation/events.go).
const MESSAGE_LIMIT: usize = 1024;

/// The longest name of an object (RFC 1123 subdomain).
const NAME_LIMIT: usize = 253;

/// The Event object. Its name is made here and not by the API server, so that a POST whose answer was lost
/// can be made again without a second Event.
pub(super) fn object(
    pod: &PodRef,
    event: &Event,
    instance: &str,
    now: jiff::Timestamp,
    unique: u64,
) -> Value {
    let seconds = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": pod.namespace, "name": name(&pod.name, unique)},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": pod.uid,
        },
        "type": event.reason.kind(),
        "reason": event.reason.as_str(),
        "message": event.note.within(MESSAGE_LIMIT).0,
        "count": 1,
        "firstTimestamp": seconds,
        "lastTimestamp": seconds,
        "source": {"component": COMPONENT, "host": instance},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
    })
}

fn name(pod: &str, unique: u64) -> String {
    let suffix = format!(".{unique:016x}");
    let stem = &pod[..pod.floor_char_boundary(NAME_LIMIT - suffix.len())];
    format!("{}{suffix}", stem.trim_end_matches(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::EventReason;
    use crate::diagnosis::Diagnosis;

    #[test]
    fn an_event_names_the_pod_and_who_reports() {
        let pod = PodRef {
            namespace: "a".into(),
            name: "web".into(),
            uid: Some("u".into()),
        };
        let event = Event {
            reason: EventReason::FailedAttach,
            note: Diagnosis::new("no", "do"),
        };
        let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let object = object(&pod, &event, "node-1", now, 0xabc);
        assert_eq!(object["metadata"]["name"], "web.0000000000000abc");
        assert_eq!(object["involvedObject"]["uid"], "u");
        assert_eq!(object["type"], "Warning");
        assert_eq!(object["reason"], "FailedAttach");
        assert_eq!(object["message"], "no; do");
        assert_eq!(object["firstTimestamp"], "2026-01-02T03:04:05Z");
        assert_eq!(object["reportingInstance"], "node-1");
    }

    #[test]
    fn names_and_messages_keep_their_limits() {
        let long = format!("{}.{}", "a".repeat(235), "b".repeat(17));
        assert_eq!(
            name(&long, 1),
            format!("{}.0000000000000001", "a".repeat(235))
        );
        assert_eq!(name(&"a".repeat(253), 1).len(), 253);
        let pod = PodRef {
            namespace: "a".into(),
            name: "web".into(),
            uid: None,
        };
        let message = |cause: String, remedy: Option<&str>| {
            let event = Event {
                reason: EventReason::FailedAttach,
                note: Diagnosis {
                    cause,
                    remedy: remedy.map(str::to_owned),
                },
            };
            let object = object(&pod, &event, "node-1", jiff::Timestamp::UNIX_EPOCH, 1);
            object["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(message("a".repeat(1024), None), "a".repeat(1024));
        let long = message("a".repeat(2000), Some("do"));
        assert!(long.len() == 1024 && long.ends_with("…; do"), "{long}");
        for text in ["a".repeat(1025), "ä".repeat(1000), "🦀".repeat(300)] {
            let short = message(text, None);
            assert!(short.len() <= 1024 && short.len() > 1016, "{}", short.len());
            assert!(short.ends_with('…'));
        }
    }
}
