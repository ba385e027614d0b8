//! Running a plan: the default network first, then the others side by side; and the way back, the
//! others first. Every failure names its network and interface.

mod side_by_side;

use tracing::{Span, info_span};

use crate::cni::chain::{self, ChainError};
use crate::cni::exec::{Exec, Target};
use crate::cni::result::CniResult;
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
        let defaults = record.attachments.len().min(1);
        let (default, others) = record.attachments.split_at(defaults);
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
        let mut outcomes = side_by_side(&default.iter().collect::<Vec<_>>(), 1, true, add);
        if outcomes
            .iter()
            .all(|outcome| matches!(outcome, Some(Ok(_))))
        {
            let others: Vec<_> = others.iter().collect();
            if !others.is_empty() {
                before_others();
            }
            outcomes.extend(side_by_side(&others, self.parallel, true, add));
        }
        outcomes.resize_with(record.attachments.len(), || None);
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
        let defaults = record.attachments.len().min(1);
        let (default, others) = record.attachments.split_at(defaults);
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
        let others: Vec<_> = others.iter().rev().collect();
        let mut outcomes = side_by_side(&others, self.parallel, false, del);
        outcomes.reverse();
        let default = side_by_side(&default.iter().collect::<Vec<_>>(), 1, false, del);
        let outcomes: Vec<_> = default.into_iter().chain(outcomes).collect();
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
