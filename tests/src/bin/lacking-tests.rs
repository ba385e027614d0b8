//! Prints the end-to-end tests that this machine's kernel cannot run, a name a line, for `tests/tools/kernel/run.sh`; with
//! `--all` those that need anything that a kernel may lack.

use std::io::{self, Write};

use e2e::lacking::{self, PROGRAMS};

fn main() -> io::Result<()> {
    let all = std::env::args().nth(1).as_deref() == Some("--all");
    let by_kernel = |feature: &str| !PROGRAMS.contains(&feature);
    let mut out = io::stdout().lock();
    for needing in lacking::tests() {
        if by_kernel(&needing.feature) && (all || !lacking::has(&needing.feature)) {
            writeln!(out, "{}", needing.test)?;
        }
    }
    Ok(())
}
