//! YAML that people write for this project's programs. A text is read as what JSON can say (YAML 1.2: `yes` and `on` are
//! texts), so that a file means the same in both forms; errors have the line and column of what is wrong.
//!
//! A key that stands twice in one map is an error. Aliases are followed, up to a limit; merge keys (`<<`) are plain keys.

mod position;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{MergeKeyPolicy, MessageFormatter, Options, UserMessageFormatter};

pub use position::{Position, position};

/// Maps and lists within one another, for the stack of the thread that reads; pods, networks and pools have about twelve.
const DEPTH: usize = 32;

/// Values that aliases may add to a text.
const REPEATED: usize = 100_000;

/// Why a text cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// The field, such as `rules[0].name`; empty if the text is no YAML, or if no field is to blame.
    pub path: String,
    /// What is wrong, in one line, without its position.
    pub problem: String,
    /// Where that is; none if it is nowhere, as a text that ends too early.
    pub position: Option<Position>,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.problem)?;
        match self.position {
            Some(position) => write!(f, " at {position}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for YamlError {}

/// A value that has no form in YAML.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be written as YAML")]
pub struct WriteError(#[source] serde_saphyr::SerializeError);

/// The documents of a text, without empty ones. The first error is the last element: what follows it is not read.
pub fn documents(text: &str) -> Vec<Result<Value, YamlError>> {
    // A text as a whole takes half the time of one that is read document by document.
    if let Ok(values) = serde_saphyr::from_multiple_with_options(text, options()) {
        return values.into_iter().map(Ok).collect();
    }
    let mut bytes = text.as_bytes();
    let mut ended = false;
    serde_saphyr::read_with_options(&mut bytes, options())
        .map(|document: Result<Value, _>| document.map_err(|error| syntax(&error)))
        .take_while(|document| !std::mem::replace(&mut ended, document.is_err()))
        .collect()
}

/// Reads a text of one document. A text without one is an empty map.
///
/// # Errors
/// [`YamlError`] if the text is no YAML, has several documents, or is not what `T` takes: then with the field.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let mut documents = documents(text).into_iter();
    let value = documents
        .next()
        .unwrap_or_else(|| Ok(Value::Object(serde_json::Map::new())))?;
    match documents.next() {
        Some(Err(error)) => return Err(error),
        Some(Ok(_)) => {
            return Err(YamlError {
                path: String::new(),
                problem: "there are several documents, one is wanted".to_owned(),
                position: position(text, 1, ""),
            });
        }
        None => {}
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = match error.path().to_string() {
            all if all == "." => String::new(),
            path => path,
        };
        YamlError {
            problem: one_line(&error.inner().to_string()),
            position: position(text, 0, &path),
            path,
        }
    })
}

/// The YAML of a value. Texts that readers of YAML 1.1 take for something else (`yes`, `012`) are quoted.
///
/// # Errors
/// [`WriteError`] for a value without a form in YAML.
pub fn write(value: &impl Serialize) -> Result<String, WriteError> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options).map_err(WriteError)
}

/// What is wrong, in one line, without the list of all fields that would be right.
pub fn short(error: &impl fmt::Display) -> String {
    let text = one_line(&error.to_string());
    let end = match text.contains("unknown field") {
        true => text.find(", expected ").or(text.find(", there are")),
        false => None,
    };
    text.get(..end.unwrap_or(text.len()))
        .unwrap_or(&text)
        .to_owned()
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn syntax(error: &serde_saphyr::Error) -> YamlError {
    YamlError {
        path: String::new(),
        problem: one_line(&UserMessageFormatter.format_message(error)),
        position: error.location().map(Position::of),
    }
}

/// Large texts are read; what a small text can make large is not.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: None,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_documents: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_depth: DEPTH,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPEATED,
        },
        merge_keys: MergeKeyPolicy::AsOrdinary,
        strict_booleans: true,
        emit_comments: false,
        with_snippet: false,
    }
}

#[cfg(test)]
mod tests;
