//! The layer that collects the spans below a request's own span: when each began, how long it took, its fields, the
//! warnings within it, and why it failed.
//!
//! A request's own span is one that is inside no other request and has the field [`TRACEPARENT_FIELD`]. What belongs to
//! different requests of one process is kept apart.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cni::error::with_causes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::context::{SpanId, TraceParent};
use crate::diagnosis::{Diagnosis, Explain};

/// The field of a request's own span that holds its [`TraceParent`].
pub const TRACEPARENT_FIELD: &str = "traceparent";
/// Steps that are kept of one request: GC may delete any number of sandboxes.
const STEPS: usize = 1024;
/// Larger evidence is not kept: in a part of it, secrets could not be found.
const EVIDENCE_BYTES: usize = 256 << 10;
/// Warnings that are kept of one step.
const WARNINGS: usize = 16;

/// One step of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Step {
    /// What was done, for example `plan` or `delegate`.
    pub name: Cow<'static, str>,
    /// The span.
    pub id: SpanId,
    /// The span around it; none: the request's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<SpanId>,
    /// When it began, after the request did.
    pub start_micros: u64,
    /// How long it took; of one that had not ended, until the request did.
    pub micros: u64,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about the failure, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What it was about and came to.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// What was coped with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What plugins were given and answered.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub evidence: Map<String, Value>,
    /// The same as it came.
    #[serde(skip)]
    pub(crate) raw: Vec<(&'static str, Vec<u8>)>,
    #[serde(skip)]
    has_ended: bool,
}

/// What was collected of one request.
pub(crate) struct Collected {
    context: TraceParent,
    began: Instant,
    /// How many steps were begun.
    begun: AtomicUsize,
    steps: Mutex<Vec<Step>>,
}

impl Collected {
    fn lock(&self) -> MutexGuard<'_, Vec<Step>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the steps, in the order in which they began, and how long the request took until now. The first step is the
    /// request itself.
    pub(crate) fn take(&self) -> (Vec<Step>, Duration) {
        let took = self.began.elapsed();
        let mut steps = std::mem::take(&mut *self.lock());
        for step in steps.iter_mut().filter(|step| !step.has_ended) {
            step.micros = micros(took).saturating_sub(step.start_micros);
        }
        (steps, took)
    }
}

/// Where a span's step is.
struct StepRef {
    collected: Arc<Collected>,
    /// Among the steps; beyond [`STEPS`] none is kept.
    index: usize,
    id: SpanId,
}

impl StepRef {
    fn change(&self, change: impl FnOnce(&mut Step)) {
        // None any more once the request was reported.
        if let Some(step) = self.collected.lock().get_mut(self.index) {
            change(step);
        }
    }
}

/// The layer; see the head of this file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Steps {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let above = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            let step_ref = extensions.get::<StepRef>()?;
            Some((Arc::clone(&step_ref.collected), step_ref.index, step_ref.id))
        });
        let (collected, parent) = match above {
            Some((collected, 0, _)) => (collected, None),
            Some((collected, _, id)) => (collected, Some(id)),
            None => {
                let Some(traceparent) = fields.traceparent() else {
                    return;
                };
                let collected = Collected {
                    context: traceparent,
                    began: Instant::now(),
                    begun: AtomicUsize::new(0),
                    steps: Mutex::default(),
                };
                (Arc::new(collected), None)
            }
        };
        let step_ref = {
            let mut steps = collected.lock();
            let index = collected.begun.fetch_add(1, Ordering::Relaxed);
            let id = match index {
                0 => collected.context.span,
                _ => collected.context.span.nth(index),
            };
            let mut step = Step {
                name: Cow::Borrowed(span.name()),
                id,
                parent,
                start_micros: micros(collected.began.elapsed()),
                ..Step::default()
            };
            fields.move_to(&mut step);
            // The request may have been reported already, too.
            if index == steps.len() && index < STEPS {
                steps.push(step);
            }
            drop(steps);
            StepRef {
                collected,
                index,
                id,
            }
        };
        span.extensions_mut().insert(step_ref);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(span) = context.span(id)
            && let Some(step_ref) = span.extensions().get::<StepRef>()
        {
            step_ref.change(|step| fields.move_to(step));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() > Level::WARN {
            return;
        }
        let Some(span) = context.event_span(event) else {
            return;
        };
        if let Some(step_ref) = span.extensions().get::<StepRef>() {
            let mut fields = Fields::default();
            event.record(&mut fields);
            step_ref.change(|step| {
                if step.warnings.len() < WARNINGS {
                    step.warnings.push(fields.into_line());
                }
            });
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(span) = context.span(&id)
            && let Some(step_ref) = span.extensions().get::<StepRef>()
        {
            let now = micros(step_ref.collected.began.elapsed());
            step_ref.change(|step| {
                step.micros = now.saturating_sub(step.start_micros);
                step.has_ended = true;
            });
        }
    }
}

/// Does `work` within `span`, and notes in it how that failed, if it did.
pub(crate) fn step<T, E: Explain>(span: Span, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let _entered = span.enter();
    let done = work();
    if let Err(error) = &done {
        with_step_ref(&span, |step_ref| {
            let Diagnosis { cause, remedy } = error.diagnosis();
            step_ref.change(|step| (step.error, step.remedy) = (Some(cause), remedy));
        });
    }
    done
}

/// Notes something in the current step that logs need not have.
pub(crate) fn note(name: &str, value: impl Into<Value>) {
    with_step_ref(&Span::current(), |step_ref| {
        step_ref.change(|step| {
            step.fields.insert(name.to_owned(), value.into());
        });
    });
}

/// Keeps, in the current step, input and answer of a plugin. The end of the request decides whether they are reported.
pub(crate) fn evidence(name: &'static str, bytes: &[u8]) {
    let kept = match bytes.len() {
        0..=EVIDENCE_BYTES => bytes.to_vec(),
        length => format!("({length} bytes, too many to keep)").into_bytes(),
    };
    with_step_ref(&Span::current(), |step_ref| {
        step_ref.change(|step| step.raw.push((name, kept)));
    });
}

/// The context of the current step.
pub(super) fn current() -> Option<TraceParent> {
    with_step_ref(&Span::current(), |step_ref| TraceParent {
        span: step_ref.id,
        ..step_ref.collected.context
    })
}

/// What is being collected of the request that `span` is in.
pub(crate) fn collected(span: &Span) -> Option<Arc<Collected>> {
    with_step_ref(span, |step_ref| Arc::clone(&step_ref.collected))
}

fn with_step_ref<T>(span: &Span, work: impl FnOnce(&StepRef) -> T) -> Option<T> {
    span.with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        let extensions = span.extensions();
        extensions.get::<StepRef>().map(work)
    })
    .flatten()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The fields of a span or an event.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn traceparent(&self) -> Option<TraceParent> {
        let (_, value) = self.0.iter().find(|(name, _)| *name == TRACEPARENT_FIELD)?;
        value.as_str()?.parse().ok()
    }

    fn move_to(self, step: &mut Step) {
        let all = self.0.into_iter();
        let fields = all.filter(|(name, _)| *name != TRACEPARENT_FIELD);
        step.fields
            .extend(fields.map(|(name, value)| (name.to_owned(), value)));
    }

    /// The message of an event, then its other fields.
    fn into_line(self) -> String {
        let (messages, others): (Vec<_>, Vec<_>) =
            self.0.into_iter().partition(|(name, _)| *name == "message");
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let mut line: String = messages.into_iter().map(|(_, value)| text(value)).collect();
        for (name, value) in others {
            line.push_str(&format!(" {name}={}", text(value)));
        }
        line
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.0.push((field.name(), with_causes(value).into()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}").into()));
    }
}

#[cfg(test)]
mod tests;
