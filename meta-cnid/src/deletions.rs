//! Counts the sandboxes of this node that could not be deleted: their marks say so. Those who try again are the runtime and
//! the next `meta-cni`.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use meta_cni::record::Orphans;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::MissedTickBehavior;

use super::blocking;

/// How often is counted.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// How many there are. Clones share the number.
#[derive(Clone, Debug, Default)]
pub(super) struct Failing(Gauge);

impl Failing {
    /// A number that `registry` shows.
    pub(super) fn register(registry: &mut Registry) -> Failing {
        let failing = Failing::default();
        registry.register(
            "meta_cni_deletions_failing",
            "Sandboxes whose deletion failed and is tried again",
            failing.0.clone(),
        );
        failing
    }
}

/// Counts now and every few seconds; never ends.
pub(super) async fn run(state_dir: PathBuf, failing: Failing) -> Infallible {
    let orphans = Orphans::new(&state_dir);
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let orphans = orphans.clone();
        let number = blocking(move || {
            let marks = orphans.marks();
            marks.iter().filter(|mark| mark.failed.is_some()).count()
        });
        failing.0.set(number.await.try_into().unwrap_or(i64::MAX));
    }
}
