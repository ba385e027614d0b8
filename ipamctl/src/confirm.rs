//! Asking before something is gone.

use std::io::{self, Write};

use super::error::CliError;
use super::note::note;

/// Asks on stderr whether to go on, unless `yes`; anything but y or yes on stdin is no.
///
/// # Errors
/// [`CliError::NotConfirmed`] for no.
pub(crate) async fn confirm(yes: bool, question: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    // Nothing is lost if stderr is closed: the answer still counts.
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    })
    .await;
    match answer {
        Ok(Ok(line)) if is_yes(&line) => Ok(()),
        Ok(Ok(line)) if line.ends_with('\n') => Err(CliError::NotConfirmed),
        // Nobody answered, nor ended the line of the question.
        _ => {
            note("");
            Err(CliError::NotConfirmed)
        }
    }
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(is_yes("y\n") && is_yes("YES\n"));
        assert!(!is_yes("") && !is_yes("\n") && !is_yes("yep") && !is_yes("no"));
    }
}
