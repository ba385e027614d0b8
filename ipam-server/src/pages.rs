//! What /metrics, /healthz and /readyz say of a server, also while the leases are still being loaded.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use ipam_core::allocator::restore;

use crate::ledger::{Caller, Ledger};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::seed::Refused;

/// The pages of a server.
#[derive(Clone)]
pub struct Pages {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    loaded: Arc<OnceLock<Loaded>>,
}

/// What a server has once the leases are loaded.
struct Loaded {
    ledger: Ledger,
    /// Watches that are open.
    watchers: Arc<AtomicI64>,
    /// Pools of the file that are not in force.
    refused: Vec<Refused>,
}

impl Pages {
    /// The pages of a server that has not loaded its leases yet.
    pub fn new(metrics: Arc<Metrics>, readiness: Readiness) -> Pages {
        Pages {
            metrics,
            readiness,
            loaded: Arc::default(),
        }
    }

    /// From now on the server is ready.
    pub fn loaded(&self, ledger: Ledger, watchers: Arc<AtomicI64>, refused: Vec<Refused>) {
        // Only the first time counts.
        let _ = self.loaded.set(Loaded {
            ledger,
            watchers,
            refused,
        });
    }
}

impl process::pages::Pages for Pages {
    fn health(&self) -> String {
        String::new()
    }

    fn ready(&self) -> Result<String, String> {
        let loaded = self
            .loaded
            .get()
            .ok_or_else(|| "the leases are being loaded\n".to_owned())?;
        let health = loaded.ledger.health();
        let health = health.borrow();
        health
            .as_ref()
            .copied()
            .map_err(|error| format!("{error}\n"))?;
        let problems = self.readiness.problems();
        let problems = problems.borrow();
        if !problems.is_empty() {
            return Err(problems.values().map(|line| format!("{line}\n")).collect());
        }
        let refused = loaded.refused.iter().map(|pool| format!("{pool}\n"));
        let mut details: String = refused.collect();
        for note in self.readiness.notes() {
            details.push_str(&format!("{note}\n"));
        }
        let origin = loaded.ledger.origin();
        let origin = origin.borrow();
        if !origin.awaited.is_empty() {
            let nodes = restore::names(&origin);
            details.push_str("the store was restored: no new lease before these nodes have reported what they hold, ");
            details.push_str(&format!("or the wait is over: {nodes}\n"));
        }
        Ok(details)
    }

    async fn metrics(&self) -> Result<String, String> {
        let Some(Loaded {
            ledger, watchers, ..
        }) = self.loaded.get()
        else {
            return Ok(self.metrics.text(&[], 0, 0));
        };
        let pools = ledger.list_pools(&Caller::default()).await;
        let pools = pools.map_err(|error| format!("{error}\n"))?;
        self.metrics.awaited(ledger.origin().borrow().awaited.len());
        let revision = *ledger.revision().borrow();
        let watchers = watchers.load(Ordering::Relaxed);
        Ok(self.metrics.text(&pools, revision, watchers))
    }
}
