//! What is checked while a server serves, and shown by readiness, health and metrics: the clock, the store's folder, whether changes
//! can be written.

use std::sync::Arc;
use std::time::Duration;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::{POLL_INTERVAL, SERVICES};
use crate::clock::SystemClock;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::store::StoreError;
use crate::store::folder::Folder;

/// From when on a clock that is behind is shown: less is the work of a time service.
const BEHIND: Duration = Duration::from_secs(60);

/// Shows when the clock of the machine is behind the server's time.
pub(super) async fn check_clock(
    clock: Arc<SystemClock>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
) {
    let mut was_behind = false;
    loop {
        let behind = clock.behind();
        metrics.clock_behind(behind);
        let is_behind = behind >= BEHIND;
        let seconds = behind.as_secs();
        if is_behind && !was_behind {
            tracing::error!(
                seconds,
                "the clock of this machine is behind the time of the store: leases end by the time that passes, and their \
                 times are ahead of the clock; correct the clock"
            );
        } else if was_behind && !is_behind {
            tracing::info!("the clock of this machine is right again");
        }
        was_behind = is_behind;
        let note = is_behind.then(|| {
            format!("the clock of this machine is {seconds} s behind the time of the store; correct the clock")
        });
        readiness.set_note("clock", note);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Shows by readiness when somebody removes the store's folder.
pub(super) async fn check_folder(folder: Folder, readiness: Readiness) {
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let checked = folder.clone();
        match tokio::task::spawn_blocking(move || checked.check()).await {
            Ok(Err(StoreError::Io { store, source })) => {
                readiness.report("store", format!("{store}: {source}"));
            }
            Ok(_) => readiness.solved("store"),
            Err(panic) => tracing::error!(%panic, "the store's folder could not be checked"),
        }
    }
}

/// Reports of all services whether they are of use: changes can be written, and the server is reachable.
pub(super) async fn report_health(reporter: HealthReporter, ledger: Ledger, readiness: Readiness) {
    let (mut health, mut problems) = (ledger.health(), readiness.problems());
    loop {
        let writable = health.borrow_and_update().is_ok();
        let status = match writable && problems.borrow_and_update().is_empty() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for name in SERVICES.into_iter().chain([""]) {
            reporter.set_service_status(name, status).await;
        }
        let changed = tokio::select! {
            changed = health.changed() => changed,
            changed = problems.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}
