//! Decisions that are undone: one that fails or is only to be checked, or a whole group.

use super::Draft;
use crate::error::Error;
use crate::log::OriginChange;

/// A place in a draft to go back to.
struct Mark {
    undo: usize,
    leases: usize,
    events: usize,
    revision: u64,
    origin: Option<OriginChange>,
}

impl<'a> Draft<'a> {
    /// Makes one decision; if it fails, or is only to be checked, it leaves nothing behind.
    ///
    /// # Errors
    /// Those of `decide`.
    pub fn attempt<T, E>(
        &mut self,
        keep: bool,
        decide: impl FnOnce(&mut Draft<'a>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mark = self.mark();
        let result = decide(self);
        if result.is_err() || !keep {
            self.go_back(&mark);
        }
        result
    }

    /// Makes a part of a decision, which leaves nothing behind if it fails.
    pub(in crate::allocator) fn try_part<T>(
        &mut self,
        decide: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mark = self.mark();
        decide(self).inspect_err(|_| self.go_back(&mark))
    }

    /// Forgets the whole group: memory is as it was before it.
    pub fn abandon(mut self) {
        let start = self.start;
        while let Some(undo) = self.undo.pop() {
            self.state.undo(undo);
        }
        self.state.revision = start;
    }

    fn mark(&self) -> Mark {
        Mark {
            undo: self.undo.len(),
            leases: self.earlier.len(),
            events: self.group.events.len(),
            revision: self.state.revision,
            origin: self.group.origin.clone(),
        }
    }

    fn go_back(&mut self, mark: &Mark) {
        while self.undo.len() > mark.undo {
            if let Some(undo) = self.undo.pop() {
                self.state.undo(undo);
            }
        }
        while self.earlier.len() > mark.leases {
            if let Some((id, earlier)) = self.earlier.pop() {
                match earlier {
                    Some(at) => self.last.insert(id, at),
                    None => self.last.remove(&id),
                };
            }
        }
        self.group.events.truncate(mark.events);
        self.state.revision = mark.revision;
        self.group.origin.clone_from(&mark.origin);
    }
}
