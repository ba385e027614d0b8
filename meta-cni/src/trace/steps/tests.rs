use std::io;

use tracing::{info_span, warn};
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What `work` leaves when it is done within a request.
fn collect(work: impl FnOnce()) -> Vec<Step> {
    let subscriber = Registry::default().with(Steps);
    tracing::subscriber::with_default(subscriber, || {
        let request = info_span!("verb", traceparent = PARENT, command = "ADD");
        let collected = collected(&request).unwrap();
        request.in_scope(work);
        drop(request);
        collected.take().0
    })
}

fn names(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.name.as_ref()).collect()
}

#[test]
fn nested_spans_know_the_one_around_them() {
    let steps = collect(|| {
        let _outer = info_span!("attachment", network = "shop/red").entered();
        let _inner = info_span!("delegate", plugin = "bridge", tries = 2_u64).entered();
    });
    assert_eq!(names(&steps), ["verb", "attachment", "delegate"]);
    assert_eq!(steps[0].id.to_string(), "00f067aa0ba902b7");
    assert_eq!(steps[0].fields["command"], "ADD");
    assert!(!steps[0].fields.contains_key(TRACEPARENT_FIELD));
    assert_eq!(steps[1].parent, None);
    assert_eq!(steps[2].parent, Some(steps[1].id));
    assert_eq!(steps[2].fields["tries"], 2);
    assert!(steps[2].start_micros + steps[2].micros <= steps[1].start_micros + steps[1].micros);
}

#[test]
fn spans_of_several_threads_stand_below_the_one_they_were_given() {
    let steps = collect(|| {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let around = info_span!("run");
        std::thread::scope(|scope| {
            for number in 0..8_u64 {
                let (dispatch, around) = (dispatch.clone(), around.clone());
                scope.spawn(move || {
                    tracing::dispatcher::with_default(&dispatch, || {
                        let _around = around.enter();
                        let _own = info_span!("attachment", number).entered();
                        let _below = info_span!("delegate").entered();
                    });
                });
            }
        });
    });
    assert_eq!(steps.len(), 2 + 16);
    let of = |name: &'static str| steps.iter().filter(move |step| step.name == name);
    assert!(of("attachment").all(|step| step.parent == Some(steps[1].id)));
    let attachments: Vec<_> = of("attachment").map(|step| Some(step.id)).collect();
    assert!(of("delegate").all(|step| attachments.contains(&step.parent)));
}

#[test]
fn a_failure_is_noted_where_it_happened_with_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);
    impl Explain for Outer {
        fn remedy(&self) -> Option<String> {
            Some("look inside".to_owned())
        }
    }
    let steps = collect(|| {
        let failed = step(info_span!("lease"), || {
            warn!(tries = 3, "server away");
            Err::<(), _>(Outer(io::Error::other("inner")))
        });
        assert!(failed.is_err());
        step(info_span!("record"), || Ok::<_, Outer>(())).unwrap();
    });
    assert_eq!(steps[1].error.as_deref(), Some("outer: inner"));
    assert_eq!(steps[1].remedy.as_deref(), Some("look inside"));
    assert_eq!(steps[1].warnings, ["server away tries=3"]);
    assert_eq!((&steps[0].error, &steps[2].error), (&None, &None));
}

#[test]
fn notes_and_evidence_belong_to_the_current_step() {
    let steps = collect(|| {
        let _step = info_span!("delegate").entered();
        note("ips", "10.0.0.5/24");
        evidence("given", b"{}");
    });
    assert_eq!(steps[1].fields["ips"], "10.0.0.5/24");
    assert_eq!(steps[1].raw, [("given", b"{}".to_vec())]);
    assert!(steps[0].fields.get("ips").is_none());
}

#[test]
fn the_current_context_is_that_of_the_step() {
    let steps = collect(|| {
        let _step = info_span!("delegate").entered();
        let found = current().unwrap();
        note("found", found.span.to_string());
        assert_eq!(found.trace, PARENT.parse::<TraceParent>().unwrap().trace);
    });
    assert_eq!(steps[1].fields["found"], steps[1].id.to_string());
}

#[test]
fn a_span_of_no_request_is_not_collected() {
    let subscriber = Registry::default().with(Steps);
    tracing::subscriber::with_default(subscriber, || {
        let span = info_span!("watch");
        assert!(collected(&span).is_none());
        span.in_scope(|| assert_eq!(current(), None));
    });
}

#[test]
fn what_ends_after_the_request_changes_nothing() {
    let subscriber = Registry::default().with(Steps);
    tracing::subscriber::with_default(subscriber, || {
        let request = info_span!("verb", traceparent = PARENT);
        let collected = collected(&request).unwrap();
        let late = request.in_scope(|| info_span!("late"));
        assert_eq!(names(&collected.take().0), ["verb", "late"]);
        late.in_scope(|| note("too", "late"));
        drop(late);
        assert!(collected.take().0.is_empty());
    });
}
