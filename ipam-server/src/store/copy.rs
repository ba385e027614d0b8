//! Copying a whole store into an empty one, of the same kind or another: pools, reservations, leases, the history that is kept, the
//! revision, and which store it is. No server has either of them open meanwhile.
//!
//! The copy is made by appends (`base`, then the events of the history, then the origin), and how far it is follows from the
//! revision of the target: an interrupted copy goes on there. The target is marked as unfinished until everything in it, read anew,
//! has the checksum of the source (`sum`); a server does not open it before (`place`).

mod base;
mod place;
mod sum;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipam_core::log::{Append, Group, OriginChange, Store, StoreError};
use serde::{Deserialize, Serialize};

use base::Base;
use place::{Open, Target};
pub use place::{Place, PlaceError};
pub use sum::Sum;

/// Things or events of a group.
const GROUP: usize = 1000;

/// Why a store is not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A store cannot be opened, read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A place cannot be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Both are the same.
    #[error("{place} cannot be copied into itself; name another target")]
    Same {
        /// Where it is.
        place: String,
    },
    /// There is nothing to copy.
    #[error("there is no store in {place}; check the address")]
    NoStore {
        /// Where the source should be.
        place: String,
    },
    /// The target is in use.
    #[error("{place} is not empty; name an empty one, or delete what is in it")]
    NotEmpty {
        /// Where it is.
        place: String,
    },
    /// Another store, or another state of this one, was begun to be copied there.
    #[error(
        "{place} holds an unfinished copy of {of}, which is not what {from} holds now; delete what is in {place} and copy again"
    )]
    OtherSource {
        /// The target.
        place: String,
        /// What was copied.
        of: String,
        /// The source.
        from: String,
    },
    /// Somebody else wrote into one of them.
    #[error(
        "a server has written into {place} meanwhile; stop all its servers, delete the copy and copy again"
    )]
    InUse {
        /// Which one.
        place: String,
    },
    /// The copy is not what it should be.
    #[error(
        "{place} does not hold what {from} does ({what}); delete what is in {place} and copy again"
    )]
    Differs {
        /// The target.
        place: String,
        /// The source.
        from: String,
        /// What is different.
        what: String,
    },
    /// The caller has ended it.
    #[error("interrupted, {place} is not finished; run the same command again to go on")]
    Interrupted {
        /// The target.
        place: String,
    },
}

/// What the target was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Began {
    /// Empty.
    Empty,
    /// A copy of the same source that was not finished.
    Unfinished,
}

/// What was copied, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// What both stores hold.
    pub sum: Sum,
    /// What the target was before.
    pub began: Began,
}

/// Which state of which store is copied: the mark of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    /// The place of the source, for people.
    from: String,
    checksum: String,
    store: String,
    revision: u64,
}

/// How a copy is watched and ended.
pub struct Control<'a> {
    /// Called with the number of changes that are made, and of all.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    /// Ends the copy when it becomes true.
    pub stop: &'a AtomicBool,
}

/// Copies `from` into `to`; with `dry_run` only checks whether that can be done.
///
/// # Errors
/// [`CopyError`].
pub fn copy(
    from: &Place,
    to: &Place,
    dry_run: bool,
    control: &Control<'_>,
) -> Result<Copied, CopyError> {
    let place = to.to_string();
    if from.is_same(to) {
        return Err(CopyError::Same { place });
    }
    let source = from.open_source()?;
    let source = source.ok_or_else(|| CopyError::NoStore {
        place: from.to_string(),
    })?;
    let store = source.store();
    let sum = Sum::of(store)?;
    let mark = Mark {
        from: from.to_string(),
        checksum: sum.checksum.clone(),
        store: store.origin()?.unwrap_or_default().id,
        revision: sum.revision,
    };
    let target = Target::look(to)?;
    let began = match &target {
        Target::Empty => Began::Empty,
        Target::Unfinished(found) => {
            let found: Mark = serde_json::from_slice(found).unwrap_or_else(|_| Mark {
                from: "something else".to_owned(),
                ..mark.clone()
            });
            // The same store may be named in another way.
            if (&found.checksum, &found.store) != (&mark.checksum, &mark.store) {
                let of = format!("{} at revision {}", found.from, found.revision);
                let from = from.to_string();
                return Err(CopyError::OtherSource { place, of, from });
            }
            Began::Unfinished
        }
        Target::Other => return Err(CopyError::NotEmpty { place }),
    };
    if dry_run {
        return Ok(Copied { sum, began });
    }
    let mark = serde_json::to_vec(&mark).unwrap_or_default();
    let opened = to.open_target(&target, &mark)?;
    let opened = opened.ok_or(CopyError::NotEmpty { place })?;
    Work {
        from,
        to,
        source: store,
        sum: &sum,
        control,
    }
    .run(opened)?;
    Ok(Copied { sum, began })
}

/// A copy that is being made.
struct Work<'a> {
    from: &'a Place,
    to: &'a Place,
    source: &'a dyn Store,
    sum: &'a Sum,
    control: &'a Control<'a>,
}

impl Work<'_> {
    /// Writes what the target lacks, compares, and removes the mark.
    fn run(&self, target: Open) -> Result<(), CopyError> {
        self.write(target.store())?;
        drop(target);
        let written = self.to.reopen()?;
        let found = Sum::of(written.store())?;
        if found != *self.sum {
            return Err(CopyError::Differs {
                place: self.to.to_string(),
                from: self.from.to_string(),
                what: self.sum.difference(&found),
            });
        }
        self.check_source()?;
        Ok(written.finish()?)
    }

    /// Whether the source is still what was copied.
    fn check_source(&self) -> Result<(), CopyError> {
        let at = self.source.extent()?.position;
        match self.source.append(at, &Group::default())? {
            Append::Appended(_) => Ok(()),
            Append::Behind(..) | Append::Compacted => Err(CopyError::InUse {
                place: self.from.to_string(),
            }),
        }
    }

    fn write(&self, target: &dyn Store) -> Result<(), CopyError> {
        let begin = self.sum.oldest_revision.saturating_sub(1);
        let base = Base::read(self.source)?;
        let all = base.len() + self.sum.events;
        if target.extent()?.revision < begin {
            let done = target.extent()?.revision;
            base.write(begin, done, |group, done| {
                self.append(target, &group)?;
                (self.control.progress)(done, all);
                Ok::<_, CopyError>(())
            })?;
        }
        let copied = base.len();
        drop(base);
        loop {
            let after = target.extent()?.revision;
            let events = self.source.events(after, GROUP)?;
            if events.is_empty() {
                break;
            }
            let forget_events_to = Some(begin).filter(|&begin| after == begin && begin > 0);
            let group = Group {
                events,
                forget_events_to,
                origin: None,
            };
            self.append(target, &group)?;
            let done = target.extent()?.revision.saturating_sub(begin);
            (self.control.progress)(copied + done, all);
        }
        let (origin, present) = (self.source.origin()?, target.origin()?);
        let Some(after) = origin.filter(|origin| present.as_ref() != Some(origin)) else {
            return Ok(());
        };
        let group = Group {
            events: Vec::new(),
            // Of a history that keeps nothing.
            forget_events_to: Some(begin).filter(|_| self.sum.events == 0),
            origin: Some(OriginChange {
                before: present,
                after,
            }),
        };
        self.append(target, &group)
    }

    fn append(&self, target: &dyn Store, group: &Group) -> Result<(), CopyError> {
        if self.control.stop.load(Ordering::Relaxed) {
            return Err(CopyError::Interrupted {
                place: self.to.to_string(),
            });
        }
        let at = target.extent()?.position;
        let appended = match target.append(at, group) {
            // What became of it is found out before anything else is appended.
            Err(StoreError::Unreachable { .. }) => {
                target.recover()?;
                target.append(target.extent()?.position, &Group::default())?
            }
            appended => appended?,
        };
        match appended {
            Append::Appended(_) => Ok(()),
            // Its own group, after an outcome that was not known.
            Append::Behind(groups, _) if *groups == [Group::clone(group)] => Ok(()),
            Append::Behind(..) | Append::Compacted => Err(CopyError::InUse {
                place: self.to.to_string(),
            }),
        }
    }
}

/// A text for the places of errors.
fn named(text: &impl std::fmt::Display) -> Arc<str> {
    text.to_string().into()
}

#[cfg(test)]
mod tests;
