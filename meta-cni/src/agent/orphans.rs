//! Records whose sandbox the runtime no longer has: marked after two looks that did not find it, to be deleted by the
//! next `meta-cni` that runs. The runtime's own GC call does without this.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::cri::{self, CriError};
use super::metrics::Metrics;
use crate::record::{Orphans, RecordError, Records};

/// Sandboxes that were not found, and when first.
#[derive(Debug, Default)]
struct Suspects(BTreeMap<String, Instant>);

impl Suspects {
    /// Notes a look at the runtime: which of `recorded` are gone, and have been since another look that is `grace` ago at
    /// least.
    fn look(
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

/// One look failed; the next may not.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Cri(#[from] CriError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Where to look.
pub(super) struct Look {
    /// The runtime's CRI socket.
    pub(super) cri_socket: PathBuf,
    /// The folder of records.
    pub(super) state_dir: PathBuf,
    /// How often.
    pub(super) interval: Duration,
    /// How old a record must be, since the runtime tells a sandbox only once its ADD has ended; and how long the sandbox
    /// must have been gone.
    pub(super) grace: Duration,
}

/// Looks every `interval`; never ends.
pub(super) async fn run(look: Look, metrics: Metrics) {
    let mut suspects = Suspects::default();
    let mut ticks = tokio::time::interval(look.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = once(&look, &mut suspects, &metrics).await {
            let error = crate::cni::error::with_causes(&error);
            tracing::warn!(error, "orphans cannot be looked for");
        }
    }
}

async fn once(look: &Look, suspects: &mut Suspects, metrics: &Metrics) -> Result<(), LookError> {
    let records = Records::new(&look.state_dir);
    // Records first: a sandbox that comes between the two is in the runtime's answer.
    let now = SystemTime::now();
    let mut recorded = records.container_ids()?;
    recorded.retain(|id| {
        let written = records.written(id);
        written.is_ok_and(|written| {
            now.duration_since(written)
                .is_ok_and(|age| age >= look.grace)
        })
    });
    if recorded.is_empty() {
        suspects.0.clear();
        return Ok(());
    }
    let sandboxes = cri::sandboxes(&look.cri_socket).await?;
    let orphans = Orphans::new(&look.state_dir);
    let marked = orphans.marked();
    for id in suspects.look(&recorded, &sandboxes, Instant::now(), look.grace) {
        if !marked.contains(&id) {
            orphans.mark(&id)?;
            metrics.orphaned();
            tracing::warn!(
                container_id = id,
                "the runtime has no such sandbox any more; the next meta-cni deletes it"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_sandbox_is_gone_after_two_looks_without_it_and_the_time_between() {
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
            let found = suspects.look(&ids(recorded), &there, now, Duration::from_secs(30));
            assert_eq!(found, ids(gone), "{after}");
        }
    }
}
