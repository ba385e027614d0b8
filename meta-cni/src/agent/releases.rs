//! Releases of leases that wait on disk because their server was away when a pod was deleted: delivered as soon as it is
//! back, over the server that each names.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::MissedTickBehavior;

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
    let (mut pause, mut next) = (LOOK, Instant::now());
    loop {
        looks.tick().await;
        let is_due = Instant::now() >= next;
        let dir = state_dir.clone();
        let looked = tokio::task::spawn_blocking(move || look(&dir, is_due)).await;
        let left = match looked {
            Ok(Ok(left)) => left,
            Ok(Err(error)) => {
                tracing::warn!(error = with_causes(&error), "releases cannot be looked for");
                continue;
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        waiting.tell(left);
        if left == 0 {
            pause = LOOK;
        } else if is_due {
            next = Instant::now() + pause;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Delivers what can be delivered if that is due; gives how many wait then.
fn look(state_dir: &Path, is_due: bool) -> Result<usize, QueueError> {
    let queue = Queue::new(state_dir);
    let waiting = queue.files()?.len();
    if waiting == 0 || !is_due {
        return Ok(waiting);
    }
    for (server, files) in queue.by_server()? {
        if let Err(error) = deliver(&queue, &server, &files) {
            let server = &server.address;
            tracing::warn!(server, error, "releases wait on");
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
