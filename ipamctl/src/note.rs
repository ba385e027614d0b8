//! stderr: sentences for the person who started the command.

use std::io::{self, Write};

use process::text;

/// Writes lines for a person to stderr. A closed stderr is no failure.
pub(crate) fn note(text: &str) {
    let lines: Vec<_> = text.lines().map(text::shown).collect();
    let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
}

/// Writes, behind the result, that a dry run changed nothing.
pub(crate) fn note_dry_run(is_dry_run: bool) {
    if is_dry_run {
        note("nothing was changed (--dry-run)");
    }
}
