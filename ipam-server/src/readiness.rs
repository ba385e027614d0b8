//! What keeps a server from being of use, beside a store that cannot be written: shown by /readyz and by gRPC health.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// The problems of a server, by subject. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Readiness(watch::Sender<BTreeMap<String, String>>);

impl Readiness {
    /// Reports the problem of a subject, in a line; it is logged when it changes.
    pub fn report(&self, subject: &str, problem: String) {
        self.0.send_if_modified(|problems| {
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
        self.0.send_if_modified(|problems| {
            let solved = problems.remove(subject).is_some();
            if solved {
                tracing::info!(subject, "the problem is solved");
            }
            solved
        });
    }

    /// The problems, now and whenever they change.
    pub fn problems(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.0.subscribe()
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
