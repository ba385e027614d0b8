//! The journal of operations: one line of JSON for each served verb, in a bounded file of `stateDir`. It is the one source
//! of `meta-cni explain`, of the agent's metrics of operations, and of traces; a verb neither waits for it nor fails by it.

mod file;
mod secrets;

pub use file::{FULL_BYTES, Follower, Journal, JournalError};
pub use secrets::{LEFT_OUT, Secrets};
pub(crate) use secrets::{learn, without_learned};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cni::error::{Code, with_causes};
use cni::skel::Environment;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::Span;

use crate::cluster::PodRef;
use crate::config::Config;
use crate::diagnosis::Diagnosis;
use crate::trace::{self, Collected, SpanId, Step, TraceParent};

/// The most that is kept of one value.
const VALUE_BYTES: usize = 16 << 10;
/// The most that is kept of the evidence of one operation.
const EVIDENCE_BYTES: usize = 256 << 10;

/// One verb that was served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// When it began.
    pub time: Timestamp,
    /// CNI_COMMAND.
    pub command: String,
    /// CNI_CONTAINERID; empty for a verb that is about no container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// CNI_IFNAME.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ifname: String,
    /// The pod, if the runtime named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// How long it took.
    pub micros: u64,
    /// The CNI code, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Its span.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
    /// The span of whoever called, if it said one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<SpanId>,
    /// What was coped with outside of the steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The steps, in the order in which they began.
    pub steps: Vec<Step>,
}

/// A verb that is being served.
pub struct Recording {
    span: Span,
    collected: Option<Arc<Collected>>,
    operation: Operation,
}

impl Recording {
    /// Begins. The log must have been started: without its layer nothing is collected.
    pub fn begin(env: &Environment, pod: Option<PodRef>) -> Recording {
        let caller = trace::parent_process();
        let context = caller.map_or_else(TraceParent::root, TraceParent::child);
        let named = pod.as_ref().map(tracing::field::display);
        let span = tracing::error_span!(
            "verb",
            traceparent = %context,
            command = env.command.as_str(),
            container_id = env.container_id,
            pod = named,
        );
        Recording {
            collected: trace::collected(&span),
            span,
            operation: Operation {
                time: Timestamp::now(),
                command: env.command.as_str().to_owned(),
                container_id: env.container_id.clone(),
                ifname: env.ifname.clone(),
                pod,
                traceparent: Some(context),
                parent: caller.map(|caller| caller.span),
                ..Operation::default()
            },
        }
    }

    /// The span in which the verb is to be served.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Ends, with the code of the failure, its cause and what to do if there was one, and appends the operation to the
    /// journal. A journal that cannot be written is a warning in the log.
    pub fn end(mut self, state_dir: Option<&Path>, failed: Option<(Code, Diagnosis)>) {
        let (Some(collected), Some(state_dir)) = (self.collected.take(), state_dir) else {
            return;
        };
        let (mut steps, took) = collected.take();
        let mut own = if steps.is_empty() {
            Step::default()
        } else {
            steps.remove(0)
        };
        let operation = &mut self.operation;
        operation.micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        operation.warnings = std::mem::take(&mut own.warnings);
        operation.steps = steps;
        if let Some((code, Diagnosis { cause, remedy })) = failed {
            operation.code = Some(code);
            (operation.error, operation.remedy) = (Some(cause), remedy);
        }
        operation.redact();
        if !operation.is_worth_a_line(state_dir) {
            return;
        }
        let line = serde_json::to_vec(&operation).map_err(|source| JournalError {
            doing: "writing a line of",
            path: state_dir.to_owned(),
            source: source.into(),
        });
        let written = line.and_then(|line| Journal::new(state_dir).append(&line));
        if let Err(error) = written {
            let error = with_causes(&error);
            tracing::warn!(error, "this operation will not be explained");
        }
    }
}

impl Operation {
    /// Whether it did what was asked.
    pub fn succeeded(&self) -> bool {
        self.code.is_none()
    }

    /// Turns evidence into JSON if it is to be kept, forgets it else, and leaves secrets out of everything.
    fn redact(&mut self) {
        let mut secrets = Secrets::default();
        let mut room = EVIDENCE_BYTES;
        let keeps = self.keeps_evidence();
        let mut given: Vec<(usize, &'static str, Value)> = Vec::new();
        for (index, step) in self.steps.iter_mut().enumerate() {
            let raw = std::mem::take(&mut step.raw).into_iter();
            given.extend(raw.map(|(name, bytes)| (index, name, to_value(&bytes))));
        }
        // Also of what is not kept, and twice: a secret may be quoted before the key that marks it as a secret.
        for _ in 0..2 {
            given.iter_mut().for_each(|(.., value)| secrets.hide(value));
        }
        for (index, name, mut value) in given.into_iter().filter(|_| keeps) {
            shorten(&mut value);
            let size = value.to_string().len();
            if let Some(step) = self.steps.get_mut(index).filter(|_| size <= room) {
                room -= size;
                step.evidence.insert(name.to_owned(), value);
            }
        }
        // What is quoted elsewhere was given to a plugin.
        for step in &mut self.steps {
            secrets.hide_fields(&mut step.fields);
            step.fields.values_mut().for_each(shorten);
            let failure = step.error.iter_mut().chain(&mut step.remedy);
            let texts = failure.chain(&mut step.warnings);
            texts.for_each(|text| hide_and_cut(&mut secrets, text));
        }
        let failure = self.error.iter_mut().chain(&mut self.remedy);
        let texts = failure.chain(&mut self.warnings);
        texts.for_each(|text| hide_and_cut(&mut secrets, text));
    }

    /// Input and answers of plugins show how a pod was made, and why something failed; a DEL or CHECK that
    /// succeeded repeats what its ADD has.
    fn keeps_evidence(&self) -> bool {
        self.command == "ADD" || !self.succeeded()
    }

    /// A runtime asks for STATUS every few seconds: only a failure has a line, and no second one right behind it.
    fn is_worth_a_line(&self, state_dir: &Path) -> bool {
        if self.command != "STATUS" {
            return true;
        }
        let last = || Journal::new(state_dir).last();
        !self.succeeded()
            && last()
                .is_none_or(|last| (&last.command, &last.error) != (&self.command, &self.error))
    }
}

/// What came as JSON, or else as a text.
fn to_value(bytes: &[u8]) -> Value {
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()))
}

fn hide_and_cut(secrets: &mut Secrets, text: &mut String) {
    *text = secrets.hidden(text);
    cut(text);
}

/// A value that is too large becomes a text that is cut off.
fn shorten(value: &mut Value) {
    if let Value::String(text) = value {
        cut(text);
        return;
    }
    let mut text = value.to_string();
    if text.len() > VALUE_BYTES {
        cut(&mut text);
        *value = Value::String(text);
    }
}

fn cut(text: &mut String) {
    if text.len() > VALUE_BYTES {
        text.truncate(text.floor_char_boundary(VALUE_BYTES));
        text.push('…');
    }
}

/// The folder of the journal for a configuration, also for one that cannot be used as a whole; none if it is this key
/// that is wrong.
pub fn folder(conf: &Map<String, Value>) -> Option<PathBuf> {
    match conf.get("stateDir") {
        None | Some(Value::Null) => Some(Config::default().state_dir),
        Some(named) => {
            let path = PathBuf::from(named.as_str()?);
            path.is_absolute().then_some(path)
        }
    }
}

#[cfg(test)]
mod tests;
