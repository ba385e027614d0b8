//! Running a plan: the default network first, then the others side by side, each behind those that it
//! stands on; and the way back, the others first. Every failure names its network and interface.

mod side_by_side;

use std::collections::{BTreeMap, BTreeSet};

use cni::chain::{self, ChainError, PluginFailure};
use cni::netconf::PluginConf;
use cni::plugins::{Location, PluginError, Plugins, Target, TimeLimit};
use cni::result::CniResult;
use plugins::{owns_interface, remove_interfaces};
use tracing::{Span, info_span};

use crate::diagnosis::Explain;
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

impl Explain for RunError {
    fn remedy(&self) -> Option<String> {
        self.source.remedy()
    }
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
    /// The plugins.
    pub plugins: &'a dyn Plugins,
    /// How long they may work.
    pub limit: TimeLimit,
    /// How many secondary networks are worked on at once; 1 is strictly in order.
    pub parallel: usize,
}

impl Runner<'_> {
    /// ADD of every attachment of `record`: results and phases are noted in it. `before_others` is called between the
    /// default network and the others, if there are others. After a failure,
    /// attachments that were not begun are [`Phase::Gone`]: the record says what there is to undo.
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
            let target = target(&record.container_id, &record.netns, entry);
            step(span(entry), || -> Result<_, PluginFailure> {
                let result = chain::add(self.plugins, self.limit, &attachment.list, target)?;
                note("ips", addresses(&result));
                Ok(result)
            })
        };
        for entry in &mut record.attachments {
            entry.built_in = self.built_in(entry);
        }
        let mut before_others = Some(before_others);
        let before = |level| {
            if let Some(before_others) = before_others.take_if(|_| level == 1) {
                before_others();
            }
        };
        let outcomes = self.by_levels(record, self.levels(record), true, before, add);
        let mut failure = None;
        for (entry, outcome) in record.attachments.iter_mut().zip(outcomes) {
            match outcome {
                None => entry.phase = Phase::Gone,
                Some(Ok(result)) => {
                    entry.phase = Phase::Added;
                    entry.result = Some(result);
                }
                Some(Err(failed)) => {
                    entry.refused = failed.place == 0 && failed.error.is_refusal();
                    failure = failure.or(Some(RunError::new(entry, failed.error)));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// DEL of every attachment of `record` that is left, in `netns` (empty: it is gone), the last one first and the default
    /// network last; all are tried, first those that the last DEL had no time for. What failed is tried once more, one
    /// after the other: attachments of one network can be in each other's way. Attachments that are deleted become
    /// [`Phase::Gone`], the others [`Phase::Deleting`]: in these the plugins that are done are noted, which are not asked
    /// again.
    ///
    /// # Errors
    /// All failures, in the record's order.
    pub fn detach(&self, record: &mut Record, netns: &str) -> Result<(), Vec<RunError>> {
        let mut levels = self.levels(record);
        levels.reverse();
        levels.iter_mut().for_each(|level| {
            level.retain(|&place| !record.attachments[place].is_gone());
            level.reverse();
        });
        self.remove_together(record, netns, &levels);
        let levels = longest_unreached_first(record, &levels);
        let order = levels.concat();
        let mut failures = self.detach_once(record, netns, levels);
        let is_tried_again = |place: &usize| {
            failures
                .get(place)
                .is_some_and(|of| is_worth_another_try(of))
        };
        let again: Vec<usize> = order.into_iter().filter(is_tried_again).collect();
        for place in &again {
            failures.remove(place);
        }
        let one_by_one = again.into_iter().map(|place| vec![place]).collect();
        failures.extend(self.detach_once(record, netns, one_by_one));
        let mut errors = Vec::new();
        for (place, entry) in record.attachments.iter_mut().enumerate() {
            let Some(failures) = failures.remove(&place) else {
                entry.phase = Phase::Gone;
                continue;
            };
            entry.phase = Phase::Deleting;
            entry.unreached = match failures.iter().all(|failure| had_no_time(&failure.error)) {
                true => entry.unreached.saturating_add(1),
                false => 0,
            };
            let failures = failures.into_iter();
            errors.extend(failures.map(|failure| RunError::new(entry, failure.error)));
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Removes at once the interfaces that the DELs of `levels` remove alone; the DELs find them gone.
    fn remove_together(&self, record: &Record, netns: &str, levels: &[Vec<usize>]) {
        let ifnames = removed_alone(record, levels, |entry| self.owns_interface(entry));
        if ifnames.len() < 2 || netns.is_empty() {
            return;
        }
        let removed = info_span!("interfaces").in_scope(|| remove_interfaces(netns, &ifnames));
        if let Err(error) = removed {
            tracing::info!(%error, "the interfaces are removed one by one");
        }
    }

    /// Whether DEL of an attachment does no more to the sandbox than to remove its interface.
    fn owns_interface(&self, entry: &Entry) -> bool {
        match entry.attachment.list.plugins.as_slice() {
            [only] => owns_interface(only.plugin_type()) && !self.built_in(entry).is_empty(),
            _ => false,
        }
    }

    /// Tries those at the places of `levels`, notes which plugins are done, and gives the failures of each.
    fn detach_once(
        &self,
        record: &mut Record,
        netns: &str,
        levels: Vec<Vec<usize>>,
    ) -> BTreeMap<usize, Vec<PluginFailure>> {
        let del = |entry: &&Entry| {
            let target = target(&record.container_id, netns, entry);
            let (list, result) = (&entry.attachment.list, entry.result.as_ref());
            let failures = span(entry).in_scope(|| {
                chain::del(
                    self.plugins,
                    self.limit,
                    list,
                    target,
                    result,
                    &entry.deleted,
                )
            });
            if failures.is_empty() {
                Ok(())
            } else {
                Err(failures)
            }
        };
        let outcomes = self.by_levels(record, levels, false, |_| {}, del);
        let mut all = BTreeMap::new();
        for (place, outcome) in outcomes.into_iter().enumerate() {
            let Some(outcome) = outcome else { continue };
            let failures = outcome.err().unwrap_or_default();
            let entry = &mut record.attachments[place];
            let has_failed = |place: &usize| failures.iter().any(|failure| failure.place == *place);
            let plugins = 0..entry.attachment.list.plugins.len();
            entry.deleted = plugins.filter(|place| !has_failed(place)).collect();
            if !failures.is_empty() {
                all.insert(place, failures);
            }
        }
        all
    }

    /// The places of the plugins of an attachment that are built in.
    fn built_in(&self, entry: &Entry) -> Vec<usize> {
        let plugins = entry.attachment.list.plugins.iter().enumerate();
        let is_built_in = |conf: &PluginConf| {
            let found = self.plugins.locate(conf.plugin_type(), conf.as_map());
            matches!(found, Ok(Location::BuiltIn))
        };
        let built_in = plugins.filter(|(_, conf)| is_built_in(conf));
        built_in.map(|(place, _)| place).collect()
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
            .filter(|(index, entry)| *index == 0 || entry.attachment.check_by_plugins)
            .map(|(_, entry)| entry)
            .collect();
        let check = |entry: &&Entry| {
            let target = target(&record.container_id, netns, entry);
            match &entry.result {
                Some(result) => step(span(entry), || {
                    chain::check(
                        self.plugins,
                        self.limit,
                        &entry.attachment.list,
                        target,
                        result,
                    )
                })
                .map_err(|error| RunError::new(entry, error)),
                None => Ok(()),
            }
        };
        let outcomes = side_by_side(&asked, self.parallel, false, check);
        outcomes.into_iter().flatten().collect()
    }
}

/// The levels, first of those that the most DELs in a row did not reach: plugins that hang each time do not use up the time of the
/// same ones each time.
fn longest_unreached_first(record: &Record, levels: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let unreached = |place: usize| record.attachments[place].unreached;
    let counts: BTreeSet<u32> = levels.iter().flatten().copied().map(unreached).collect();
    let of_count = |count: u32| {
        levels.iter().map(move |level| {
            let level = level.iter().copied();
            level.filter(|place| unreached(*place) == count).collect()
        })
    };
    let all = counts.into_iter().rev().flat_map(of_count);
    all.filter(|level: &Vec<usize>| !level.is_empty()).collect()
}

/// The interfaces of the attachments of `levels` whose DEL removes them alone, as `owns` says, but for those on which others may
/// stand: all of a level that comes behind one with another attachment.
fn removed_alone<'a>(
    record: &'a Record,
    levels: &[Vec<usize>],
    owns: impl Fn(&Entry) -> bool,
) -> Vec<&'a str> {
    let mut ifnames = Vec::new();
    for level in levels {
        let entries = level.iter().map(|&place| &record.attachments[place]);
        let (alone, others): (Vec<&Entry>, Vec<&Entry>) = entries.partition(|entry| owns(entry));
        ifnames.extend(alone.iter().map(|entry| entry.attachment.ifname.as_str()));
        if !others.is_empty() {
            break;
        }
    }
    ifnames
}

/// Whether a plugin was not executed, because the time of the call was over.
fn had_no_time(error: &ChainError) -> bool {
    match error {
        ChainError::Plugin { source, .. } => matches!(**source, PluginError::NoTimeLeft { .. }),
        _ => false,
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

/// Whether a plugin that failed may do better a moment later: it came to an end, and nobody has waited for long.
fn is_worth_another_try(failures: &[PluginFailure]) -> bool {
    use PluginError::{Failed, FailedSilently, TimedOut};
    let causes = failures.iter().filter_map(|failure| match &failure.error {
        ChainError::Plugin { source, .. } => Some(source.as_ref()),
        _ => None,
    });
    let causes: Vec<&PluginError> = causes.collect();
    let has_ended = |cause: &&PluginError| matches!(cause, Failed { .. } | FailedSilently { .. });
    let has_timed_out = |cause: &&PluginError| matches!(cause, TimedOut { .. });
    causes.iter().any(has_ended) && !causes.iter().any(has_timed_out)
}

fn addresses(result: &CniResult) -> Vec<String> {
    let ips = result.ips.iter();
    ips.map(|ip| ip.address.to_string()).collect()
}

fn target<'a>(container_id: &'a str, netns: &'a str, entry: &'a Entry) -> Target<'a> {
    let attachment = &entry.attachment;
    Target {
        container_id,
        netns,
        ifname: &attachment.ifname,
        args: &attachment.args,
    }
}

#[cfg(test)]
mod tests;
