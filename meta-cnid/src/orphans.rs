//! Records whose sandbox the runtime no longer has: marked after two lists that did not have it, to be deleted by the
//! next `meta-cni` that runs. The runtime's own GC call does without this.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use meta_cni::record::{Orphans, RecordError, Records};
use netlink::netns;

use super::blocking;
use super::cri::{self, CriError};
use super::metrics::Metrics;

/// Sandboxes that were not found, and when first.
#[derive(Debug, Default)]
struct Suspects(BTreeMap<String, Instant>);

impl Suspects {
    /// Notes a list of the runtime: which of `recorded` are gone, and have been since another list that is `grace` ago at
    /// least.
    fn compare(
        &mut self,
        recorded: &[String],
        sandboxes: &BTreeSet<String>,
        now: Instant,
        grace: Duration,
    ) -> Vec<String> {
        let missing: BTreeSet<&String> = recorded
            .iter()
            .filter(|id| !sandboxes.contains(*id))
            .collect();
        self.0.retain(|id, _| missing.contains(id));
        let mut gone = Vec::new();
        for id in missing {
            match self.0.get(id) {
                None => {
                    self.0.insert(id.clone(), now);
                }
                Some(first) if now.duration_since(*first) >= grace => gone.push(id.clone()),
                Some(_) => {}
            }
        }
        gone
    }
}

/// One search failed; the next may not.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error(transparent)]
    Cri(#[from] CriError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Where to check.
pub(super) struct Check {
    /// The runtime's CRI socket.
    pub(super) cri_socket: PathBuf,
    /// The folder of records.
    pub(super) state_dir: PathBuf,
    /// How often.
    pub(super) interval: Duration,
    /// How old a record must be, since the runtime lists a sandbox only once its ADD has ended; and how long the sandbox
    /// must have been gone.
    pub(super) grace: Duration,
}

/// Looks every `interval`; never ends.
pub(super) async fn run(check: Check, metrics: Metrics) {
    let mut suspects = Suspects::default();
    let mut ticks = tokio::time::interval(check.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = once(&check, &mut suspects, &metrics).await {
            let error = cni::error::with_causes(&error);
            tracing::warn!(error, "orphans cannot be searched");
        }
    }
}

async fn once(check: &Check, suspects: &mut Suspects, metrics: &Metrics) -> Result<(), CheckError> {
    // Records first: a sandbox that comes between the two is in the runtime's answer.
    let records = Records::new(&check.state_dir);
    let grace = check.grace;
    let settled = blocking(move || settled(&records, grace)).await?;
    if settled.is_empty() {
        suspects.0.clear();
        return Ok(());
    }
    let sandboxes = cri::sandboxes(&check.cri_socket).await?;
    let records = Records::new(&check.state_dir);
    let (recorded, sandboxes) = blocking(move || {
        let ids = of_the_runtime(&records, settled, &sandboxes);
        (ids, sandboxes)
    })
    .await;
    let gone = suspects.compare(&recorded, &sandboxes, Instant::now(), check.grace);
    let orphans = Orphans::new(&check.state_dir);
    let marked = blocking(move || mark(&orphans, gone)).await?;
    for id in marked {
        metrics.orphaned();
        tracing::warn!(
            container_id = id,
            "the runtime has no such sandbox any more; the next meta-cni deletes it"
        );
    }
    Ok(())
}

/// Sandboxes whose record was not written for as long as `grace`.
fn settled(records: &Records, grace: Duration) -> Result<Vec<String>, RecordError> {
    let now = SystemTime::now();
    let is_old = |written| now.duration_since(written).is_ok_and(|age| age >= grace);
    let mut ids = records.container_ids()?;
    ids.retain(|id| records.written(id).is_ok_and(is_old));
    Ok(ids)
}

/// Those of `ids` of which this runtime must know: a sandbox that is of no pod may be another runtime's. If it knows none
/// of them at all, it may be the wrong runtime, so that those whose namespace is there are left alone.
fn of_the_runtime(
    records: &Records,
    mut ids: Vec<String>,
    sandboxes: &BTreeSet<String>,
) -> Vec<String> {
    let knows_some = ids.iter().any(|id| sandboxes.contains(id));
    let mut left_alone = 0;
    ids.retain(|id| {
        if sandboxes.contains(id) {
            return true;
        }
        let Ok(Some(record)) = records.peek(id) else {
            return knows_some;
        };
        let is_its = record.pod.is_some();
        let is_gone = knows_some || netns::is_gone(Path::new(&record.netns));
        left_alone += usize::from(is_its && !is_gone);
        is_its && is_gone
    });
    if left_alone > 0 {
        tracing::warn!(
            left_alone,
            "the runtime behind --cri-socket knows no sandbox of this node, but network namespaces of some are there; \
             is it the runtime that runs the pods?"
        );
    }
    ids
}

/// Marks those that are not marked yet, and says which.
fn mark(orphans: &Orphans, gone: Vec<String>) -> Result<Vec<String>, RecordError> {
    let marked = orphans.marked();
    let new: Vec<String> = gone.into_iter().filter(|id| !marked.contains(id)).collect();
    new.iter().try_for_each(|id| orphans.mark(id))?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use meta_cni::cluster::PodRef;
    use meta_cni::record::Record;

    use super::*;

    #[test]
    fn what_is_another_runtimes_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(folder.path());
        records.make_folders().unwrap();
        let there = folder.path().to_str().unwrap();
        let gone = format!("{there}/gone");
        let pod = |name: &str| PodRef {
            namespace: "a".into(),
            name: name.into(),
            uid: Some(name.into()),
        };
        for (id, netns, pod) in [
            ("runs", there, Some(pod("runs"))),
            ("gone", gone.as_str(), Some(pod("gone"))),
            ("podless", gone.as_str(), None),
        ] {
            let record = Record::planned(id, netns, pod, vec![]);
            let sandbox = records.lock(id, Duration::ZERO).unwrap();
            sandbox.save_durably(&record).unwrap();
        }
        for (sandboxes, expected) in [
            ("other", "gone"),
            ("runs", "gone runs"),
            ("gone", "gone runs"),
        ] {
            let sandboxes = ids(sandboxes).into_iter().collect();
            let mut found = of_the_runtime(&records, ids("gone podless runs"), &sandboxes);
            found.sort();
            assert_eq!(found, ids(expected), "{sandboxes:?}");
        }
    }

    fn ids(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_sandbox_is_gone_after_two_lists_without_it_and_the_time_between() {
        let mut suspects = Suspects::default();
        let start = Instant::now();
        for (after, recorded, there, gone) in [
            (0, "a b", "a b", ""),
            (1, "a b", "a", ""),
            (10, "a b", "a", ""),
            // Seen again: it begins anew.
            (20, "a b", "a b", ""),
            (25, "a b", "a", ""),
            (54, "a b", "a", ""),
            (55, "a b", "a", "b"),
            (60, "a b", "", "b"),
            (90, "a", "", "a"),
        ] {
            let there = ids(there).into_iter().collect();
            let now = start + Duration::from_secs(after);
            let found = suspects.compare(&ids(recorded), &there, now, Duration::from_secs(30));
            assert_eq!(found, ids(gone), "{after}");
        }
    }
}
