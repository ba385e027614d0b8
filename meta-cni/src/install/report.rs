//! What an installer did, one line a change, when it is done: text for people, or a JSON object a line.

use std::io::Write;
use std::path::Path;

use clap::ValueEnum;
use serde_json::json;

use super::InstallError;
use super::changes::Mode;

/// How changes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: one object a line
    Json,
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Write,
    Move,
    Remove,
}

impl Action {
    /// Its word in JSON.
    fn as_str(self) -> &'static str {
        match self {
            Action::Write => "write",
            Action::Move => "move",
            Action::Remove => "remove",
        }
    }

    fn sentence(self, mode: Mode) -> &'static str {
        match (self, mode) {
            (Action::Write, Mode::Apply) => "written",
            (Action::Write, Mode::Pretend) => "would write",
            (Action::Move, Mode::Apply) => "moved",
            (Action::Move, Mode::Pretend) => "would move",
            (Action::Remove, Mode::Apply) => "removed",
            (Action::Remove, Mode::Pretend) => "would remove",
        }
    }
}

/// Writes what is done, and counts it.
pub(super) struct Report<'w> {
    format: Format,
    mode: Mode,
    to: &'w mut dyn Write,
    changes: usize,
    /// The last thing that was waited for or warned of: it is reported once.
    said: Vec<String>,
}

impl<'w> Report<'w> {
    pub(super) fn new(format: Format, mode: Mode, to: &'w mut dyn Write) -> Report<'w> {
        Report {
            format,
            mode,
            to,
            changes: 0,
            said: Vec::new(),
        }
    }

    /// How many files were changed, or would be.
    pub(super) fn changes(&self) -> usize {
        self.changes
    }

    /// A file was changed, or would be.
    pub(super) fn change(
        &mut self,
        action: Action,
        path: &Path,
        why: &str,
    ) -> Result<(), InstallError> {
        self.changes += 1;
        self.said.clear();
        let path = path.display();
        let line = match self.format {
            Format::Text => format!("{} {path}: {why}", action.sentence(self.mode)),
            Format::Json => {
                let (action, path) = (action.as_str(), path.to_string());
                let done = self.mode == Mode::Apply;
                json!({"action": action, "path": path, "why": why, "done": done}).to_string()
            }
        };
        self.line(&line)
    }

    /// Something is waited for; once for each time that it changes.
    pub(super) fn waits(&mut self, what: &str) -> Result<(), InstallError> {
        self.once("wait", "waiting", what)
    }

    /// Something that somebody should know; once for each time that it changes.
    pub(super) fn warn(&mut self, what: &str) -> Result<(), InstallError> {
        self.once("warn", "warning", what)
    }

    /// All is as it should be.
    pub(super) fn end(&mut self, what: &str) -> Result<(), InstallError> {
        self.once("end", "done", what)
    }

    fn once(&mut self, action: &str, word: &str, what: &str) -> Result<(), InstallError> {
        if self.said.iter().any(|said| said == what) {
            return Ok(());
        }
        self.said.push(what.to_owned());
        let line = match self.format {
            Format::Text => format!("{word}: {what}"),
            Format::Json => json!({"action": action, "why": what}).to_string(),
        };
        self.line(&line)
    }

    fn line(&mut self, line: &str) -> Result<(), InstallError> {
        let written = writeln!(self.to, "{line}").and_then(|()| self.to.flush());
        written.map_err(|source| InstallError::Output { source })
    }
}
