//! What keeps a server from being of use, beside a store that cannot be written: shown by /readyz and by gRPC health.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The problems of a server, by subject. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    problems: watch::Sender<BTreeMap<String, String>>,
    notes: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Readiness {
    /// Reports the problem of a subject, in a line; it is logged when it changes.
    pub fn report(&self, subject: &str, problem: String) {
        self.problems.send_if_modified(|problems| {
            let changed = problems.get(subject) != Some(&problem);
            if changed {
                tracing::error!(subject, problem, "the server is not ready");
                problems.insert(subject.to_owned(), problem);
            }
            changed
        });
    }

    /// Ends the problem of a subject, if it has one.
    pub fn solved(&self, subject: &str) {
        self.problems.send_if_modified(|problems| {
            let solved = problems.remove(subject).is_some();
            if solved {
                tracing::info!(subject, "the problem is solved");
            }
            solved
        });
    }

    /// Sets what /readyz says of a subject although the server is of use; none: nothing.
    pub fn set_note(&self, subject: &'static str, note: Option<String>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        match note {
            Some(note) => notes.insert(subject, note),
            None => notes.remove(subject),
        };
    }

    /// What is to be said, a line each.
    pub fn notes(&self) -> Vec<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.values().cloned().collect()
    }

    /// The problems, now and whenever they change.
    pub fn problems(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.problems.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_until_it_is_solved_and_only_a_change_wakes_readers() {
        let readiness = Readiness::default();
        let mut problems = readiness.problems();
        readiness.report("a", "broken".into());
        readiness.report("b", "lost".into());
        assert_eq!(problems.borrow_and_update().len(), 2);
        readiness.report("b", "lost".into());
        readiness.solved("c");
        assert!(!problems.has_changed().unwrap());
        readiness.solved("a");
        assert_eq!(problems.borrow_and_update().get("b").unwrap(), "lost");
    }
}
