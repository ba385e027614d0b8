//! What a migration cannot carry over, and what a person can do about it.

use process::text;
use serde::Serialize;

/// One thing that stays as it is, or is lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Obstacle {
    /// The object or address.
    pub(super) what: String,
    /// Why it is not carried over.
    pub(super) reason: String,
    /// What to do.
    pub(super) remedy: String,
}

impl Obstacle {
    /// An obstacle; the parts may have words of strangers.
    pub(super) fn new(
        what: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Obstacle {
        Obstacle {
            what: what.into(),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// In one line, for a terminal.
    pub(super) fn line(&self) -> String {
        let line = format!("{}: {}; {}", self.what, self.reason, self.remedy);
        text::shown(&line).into_owned()
    }
}
