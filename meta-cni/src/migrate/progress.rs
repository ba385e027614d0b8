//! What takes long says on standard error how far it is.

use std::io::{self, Write as _};

use process::text;

/// Writes one line; that nobody reads it stops nothing.
pub(super) fn progress(line: &str) {
    let _ = writeln!(io::stderr(), "meta-cni: {}", text::shown(line));
}
