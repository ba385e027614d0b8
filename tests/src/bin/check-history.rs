//! Checks histories that `make test-replicas` recorded (target/replicas/history-*.json), without any server.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use e2e::history::History;

/// Violations that are shown.
const SHOWN: usize = 20;

fn main() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() || files.iter().any(|file| file.starts_with('-')) {
        writeln!(out, "usage: check-history FILE…")?;
        return Ok(ExitCode::from(2));
    }
    let mut found = 0;
    for file in files {
        let history = match History::read(Path::new(&file)) {
            Ok(history) => history,
            Err(error) => {
                eprintln!("check-history: {error}");
                return Ok(ExitCode::from(2));
            }
        };
        let violations = history.violations();
        writeln!(out, "{file}: {}", history.table())?;
        writeln!(out, "violations {}", violations.len())?;
        for violation in violations.iter().take(SHOWN) {
            writeln!(out, "  {violation}")?;
        }
        found += violations.len();
    }
    Ok(ExitCode::from(u8::from(found > 0)))
}
