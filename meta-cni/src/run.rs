//! Running a plan: the default network first, then the others side by side, each behind those that it
//! stands on; and the way back, the others first. Every failure names its network and interface.

mod side_by_side;

use tracing::{Span, info_span};

use crate::cni::chain::{self, ChainError};
use crate::cni::exec::{Exec, Target};
use crate::cni::result::CniResult;
use crate::order;
use crate::record::{Entry, Phase, Record};
use crate::trace::{note, step};
use side_by_side::side_by_side;

/// An attachment that failed.
#[derive(Debug, thiserror::Error)]
#[error("network {network} ({ifname})")]
pub struct RunError {
    /// The network, as people call it.
    pub network: String,
    /// The interface.
    pub ifname: String,
    /// Which plugin failed, and why.
    #[source]
    pub source: ChainError,
}

impl RunError {
    fn new(entry: &Entry, source: ChainError) -> RunError {
        let attachment = &entry.attachment;
        RunError {
            network: attachment.network.clone(),
            ifname: attachment.ifname.clone(),
            source,
        }
    }
}

/// Runs plugins for whole sandboxes.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// What runs a plugin.
    pub exec: &'a dyn Exec,
    /// How many secondary networks are worked on at once; 1 is strictly in order.
    pub parallel: usize,
}

impl Runner<'_> {
    /// ADD of every attachment of `record`: results and phases are noted in it. `before_others` is called between the
    /// default network and the others, if there are others. After a failure,
    /// attachments that were not begun are dropped from it, so that it says what there is to undo.
    ///
    /// # Errors
    /// The failure of the first attachment in the record's order that failed.
    pub fn attach(
        &self,
        record: &mut Record,
        before_others: impl FnOnce(),
    ) -> Result<(), RunError> {
        let add = |entry: &&Entry| {
            let attachment = &entry.attachment;
            let target = target(&record.container_id, &record.netns, &record.path, entry);
            step(span(entry), || {
                let result = chain::add(self.exec, &attachment.list, target)?;
                note("ips", addresses(&result));
                Ok(result)
            })
            .map_err(|error| RunError::new(entry, error))
        };
        let mut before_others = Some(before_others);
        let before = |level| {
            if let Some(before_others) = before_others.take_if(|_| level == 1) {
                before_others();
            }
        };
        let outcomes = self.by_levels(record, self.levels(record), true, before, add);
        let mut failure = None;
        let entries = std::mem::take(&mut record.attachments);
        for (mut entry, outcome) in entries.into_iter().zip(outcomes) {
            match outcome {
                None => continue,
                Some(Ok(result)) => {
                    entry.phase = Phase::Added;
                    entry.result = Some(result);
                }
                Some(Err(error)) => failure = failure.or(Some(error)),
            }
            record.attachments.push(entry);
        }
        failure.map_or(Ok(()), Err)
    }

    /// DEL of every attachment of `record` in `netns` (which may be gone, or empty), the last one first
    /// and the default network last; all are tried. Those that succeeded are dropped from the record.
    ///
    /// # Errors
    /// All failures.
    pub fn detach(&self, record: &mut Record, netns: &str) -> Result<(), Vec<RunError>> {
        let del = |entry: &&Entry| {
            let target = target(&record.container_id, netns, &record.path, entry);
            let done = span(entry).in_scope(|| {
                let (list, result) = (&entry.attachment.list, entry.result.as_ref());
                chain::del(self.exec, list, target, result)
            });
            done.map_err(|errors| {
                errors
                    .into_iter()
                    .map(|error| RunError::new(entry, error))
                    .collect::<Vec<_>>()
            })
        };
        let mut levels = self.levels(record);
        levels.reverse();
        levels.iter_mut().for_each(|level| level.reverse());
        let outcomes = self.by_levels(record, levels, false, |_| {}, del);
        let mut failures = Vec::new();
        let entries = std::mem::take(&mut record.attachments);
        for (mut entry, outcome) in entries.into_iter().zip(outcomes) {
            if let Some(Err(errors)) = outcome {
                failures.extend(errors);
                entry.phase = Phase::Deleting;
                record.attachments.push(entry);
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(failures)
        }
    }

    /// The attachments of a record in levels, see [`order::levels`]; strictly in order, each is one.
    fn levels(&self, record: &Record) -> Vec<Vec<usize>> {
        match self.parallel {
            1 => (0..record.attachments.len()).map(|one| vec![one]).collect(),
            _ => order::levels(&record.attachments().collect::<Vec<_>>()),
        }
    }

    /// Does `work` on the attachments level by level, those of one level side by side, and `before` before
    /// each level with its number; gives the outcomes in the record's order. With `stop`, nothing is begun
    /// any more once one has failed.
    fn by_levels<R: Send, E: Send>(
        &self,
        record: &Record,
        levels: Vec<Vec<usize>>,
        stop: bool,
        mut before: impl FnMut(usize),
        work: impl Fn(&&Entry) -> Result<R, E> + Sync,
    ) -> Vec<Option<Result<R, E>>> {
        let entries = &record.attachments;
        let mut outcomes: Vec<_> = entries.iter().map(|_| None).collect();
        for (number, level) in levels.into_iter().enumerate() {
            before(number);
            let items: Vec<_> = level.iter().map(|&index| &entries[index]).collect();
            for (index, outcome) in
                level
                    .into_iter()
                    .zip(side_by_side(&items, self.parallel, stop, &work))
            {
                outcomes[index] = outcome;
            }
            if stop && outcomes.iter().flatten().any(Result::is_err) {
                break;
            }
        }
        outcomes
    }

    /// CHECK by the plugins of the default network, and of the networks that ask for it, each against its own
    /// result. The plugins of many secondary networks refuse what is as it should be.
    ///
    /// # Errors
    /// The first failure in the record's order.
    pub fn check(&self, record: &Record, netns: &str) -> Result<(), RunError> {
        let asked = record.attachments.iter().enumerate();
        let asked: Vec<&Entry> = asked
            .filter(|(index, entry)| *index == 0 || entry.attachment.list.check_by_plugins)
            .map(|(_, entry)| entry)
            .collect();
        let check = |entry: &&Entry| {
            let target = target(&record.container_id, netns, &record.path, entry);
            match &entry.result {
                Some(result) => step(span(entry), || {
                    chain::check(self.exec, &entry.attachment.list, target, result)
                })
                .map_err(|error| RunError::new(entry, error)),
                None => Ok(()),
            }
        };
        let outcomes = side_by_side(&asked, self.parallel, false, check);
        outcomes.into_iter().flatten().collect()
    }
}

/// The step of one attachment.
fn span(entry: &Entry) -> Span {
    let attachment = &entry.attachment;
    info_span!(
        "attachment",
        network = attachment.network,
        ifname = attachment.ifname
    )
}

fn addresses(result: &CniResult) -> Vec<String> {
    let ips = result.ips.iter();
    ips.map(|ip| ip.address.to_string()).collect()
}

fn target<'a>(
    container_id: &'a str,
    netns: &'a str,
    path: &'a str,
    entry: &'a Entry,
) -> Target<'a> {
    let attachment = &entry.attachment;
    Target {
        container_id,
        netns,
        ifname: &attachment.ifname,
        args: &attachment.args,
        path,
    }
}

#[cfg(test)]
mod tests;
