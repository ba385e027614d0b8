//! Releases of leases that wait on disk because their server was away when a pod was deleted: delivered as soon as it is
//! back, over the server that each names.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::MissedTickBehavior;

use super::blocking;
use super::pauses::Pauses;
use crate::cni::error::with_causes;
use crate::ipam::client::Client;
use crate::ipam::config::Server;
use crate::ipam::queue::{AT_ONCE, Queue, QueueError};

/// How often is looked for releases that wait.
const LOOK: Duration = Duration::from_secs(3);
/// After tries that did not deliver everything, the pause doubles up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// For connecting and [`AT_ONCE`] releases.
const LIMIT: Duration = Duration::from_secs(10);

/// How many releases wait. Clones tell the same number.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Gauge);

impl Waiting {
    /// A number that is told by `registry`.
    pub fn register(registry: &mut Registry) -> Waiting {
        let waiting = Waiting::default();
        registry.register(
            "meta_cni_releases_waiting",
            "Releases of leases on disk that wait for their server",
            waiting.0.clone(),
        );
        waiting
    }

    fn tell(&self, number: usize) {
        self.0.set(number.try_into().unwrap_or(i64::MAX));
    }
}

/// Looks for releases that wait, now and every few seconds, and delivers them; never ends.
pub async fn run(state_dir: PathBuf, waiting: Waiting) -> Infallible {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Servers that could not be delivered to.
    let mut away = Pauses::new(LOOK, LONGEST_PAUSE);
    loop {
        looks.tick().await;
        let dir = state_dir.clone();
        let left;
        (away, left) = blocking(move || {
            let left = look(&dir, &mut away);
            (away, left)
        })
        .await;
        match left {
            Ok(left) => waiting.tell(left),
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "releases cannot be looked for");
            }
        }
    }
}

/// Delivers what can be delivered; gives how many wait then.
fn look(state_dir: &Path, away: &mut Pauses<Server>) -> Result<usize, QueueError> {
    let queue = Queue::new(state_dir);
    let by_server = queue.by_server()?;
    away.retain(|server| by_server.contains_key(server));
    for (server, files) in by_server {
        if !away.is_due(&server, Instant::now()) {
            continue;
        }
        match deliver(&queue, &server, &files) {
            Ok(()) => away.retain(|other| *other != server),
            Err(error) => {
                tracing::warn!(server = server.address, error, "releases wait on");
                away.begin(server, Instant::now());
            }
        }
    }
    Ok(queue.files()?.len())
}

/// Delivers all of a server's releases, or says why not.
fn deliver(queue: &Queue, server: &Server, files: &[PathBuf]) -> Result<(), String> {
    for some in files.chunks(AT_ONCE) {
        let client = Client::connect(server, LIMIT, false).map_err(|error| with_causes(&error))?;
        let delivered = queue.deliver_files(some, server, &client);
        delivered.map_err(|error| error.to_string())?;
    }
    Ok(())
}
