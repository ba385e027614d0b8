//! Our Events as core/v1 objects. Values in, JSON out.

use std::hash::{Hash, Hasher};

use fnv::FnvHasher;
use serde_json::{Value, json};

use crate::cluster::{Event, EventReason, PodRef};

/// Who reports: shown as `From` by `kubectl describe`.
const COMPONENT: &str = "meta-cni";

/// The API server's limit of `message` (core/v1 Event, NoteLengthLimit in validation/events.go).
const MESSAGE_LIMIT: usize = 1024;

/// In seconds.
const HOUR: i64 = 3600;

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

/// What tells an Event from the others of its pod. The kubelet tries again every few seconds: a failure that stays the same is one
/// Event an hour, which is for how long the API server keeps Events.
pub(super) fn number(pod: &PodRef, event: &Event, now: jiff::Timestamp, random: u64) -> u64 {
    if event.reason != EventReason::FailedAttach {
        return random;
    }
    let mut hasher = FnvHasher::default();
    (
        &pod.name,
        &pod.uid,
        event.note.to_string(),
        now.as_second() / HOUR,
    )
        .hash(&mut hasher);
    hasher.finish()
}

fn name(pod: &str, unique: u64) -> String {
    let suffix = format!(".{unique:016x}");
    let stem = &pod[..pod.floor_char_boundary(NAME_LIMIT - suffix.len())];
    format!("{}{suffix}", stem.trim_end_matches(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_failure_that_stays_the_same_is_one_event_an_hour() {
        let pod = |name: &str, uid: &str| PodRef {
            namespace: "a".into(),
            name: name.into(),
            uid: Some(uid.into()),
        };
        let event = |reason, cause: &str| Event {
            reason,
            note: Diagnosis::new(cause, "do"),
        };
        let at = |seconds| jiff::Timestamp::from_second(seconds).unwrap();
        let failed = event(EventReason::FailedAttach, "no");
        let (web, again) = (pod("web", "u"), pod("web", "v"));
        let first = number(&web, &failed, at(7200), 1);
        assert_eq!(number(&web, &failed, at(10_799), 2), first);
        let others = [
            number(&web, &failed, at(10_800), 1),
            number(&again, &failed, at(7200), 1),
            number(&web, &event(EventReason::FailedAttach, "not"), at(7200), 1),
        ];
        assert!(!others.contains(&first));
        let added = event(EventReason::AddedInterface, "no");
        assert_eq!([1, 2].map(|n| number(&web, &added, at(7200), n)), [1, 2]);
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
