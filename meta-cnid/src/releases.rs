//! Releases of leases that wait on disk because their server was away when a pod was deleted: delivered as soon as it is
//! back, over the server that each names. A server or a release that is stuck delays no other one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use cni::error::with_causes;
use meta_cni::ipam::client::Client;
use meta_cni::ipam::config::Server;
use meta_cni::ipam::failure::QueueError;
use meta_cni::ipam::queue::{AT_ONCE, Entry, Queue};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::MissedTickBehavior;

use super::blocking;
use super::pauses::Pauses;

/// How often waiting releases are read.
const POLL_INTERVAL: Duration = Duration::from_secs(3);
/// After tries that did not deliver everything, the pause doubles up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// For connecting, and for [`AT_ONCE`] releases.
const LIMIT: Duration = Duration::from_secs(10);
/// For the answer to one release.
const ANSWER: Duration = Duration::from_secs(5);
/// Servers that are delivered to at the same time.
const SERVERS: usize = 8;

/// How many releases wait, and since when. Clones share the numbers.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    number: Gauge,
    age: Gauge<f64, AtomicU64>,
    seen: Arc<Mutex<Seen>>,
}

/// What was read last.
#[derive(Clone, Debug, Default)]
struct Seen {
    number: usize,
    oldest: Option<SystemTime>,
    problem: Option<String>,
}

impl Waiting {
    /// Numbers that `registry` shows.
    pub fn register(registry: &mut Registry) -> Waiting {
        let waiting = Waiting::default();
        registry.register(
            "meta_cni_releases_waiting",
            "Releases of leases on disk that wait for their server",
            waiting.number.clone(),
        );
        registry.register_with_unit(
            "meta_cni_releases_oldest_age",
            "How long the oldest release on disk has waited; 0 if none waits",
            Unit::Seconds,
            waiting.age.clone(),
        );
        waiting
    }

    fn update(&self, seen: Seen) {
        self.number.set(seen.number.try_into().unwrap_or(i64::MAX));
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        self.age();
    }

    /// How long the oldest has waited by now.
    pub fn age(&self) -> Option<Duration> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let age = seen.oldest.map(|since| since.elapsed().unwrap_or_default());
        self.age.set(age.unwrap_or_default().as_secs_f64());
        age
    }

    /// What a person should know, a line; nothing if none waits.
    pub fn problem(&self) -> Option<String> {
        let age = self.age();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = &seen.problem {
            return Some(format!(
                "waiting releases of leases cannot be read: {problem}"
            ));
        }
        let seconds = age?.as_secs();
        let number = seen.number;
        Some(format!(
            "releases of leases that wait for their server: {number}, the oldest for {seconds} s"
        ))
    }
}

/// What is left alone for now.
#[derive(Debug)]
struct Away {
    /// Servers that answered nothing.
    servers: Pauses<Server>,
    /// Releases that their server did not take, though it took others.
    releases: Pauses<String>,
}

impl Away {
    fn new() -> Away {
        Away {
            servers: Pauses::new(POLL_INTERVAL, LONGEST_PAUSE),
            releases: Pauses::new(POLL_INTERVAL, LONGEST_PAUSE),
        }
    }
}

/// Reads the releases that wait, now and every few seconds, and delivers them; never ends.
pub async fn run(state_dir: PathBuf, waiting: Waiting) -> Infallible {
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut away = Away::new();
    loop {
        ticks.tick().await;
        let (dir, shown) = (state_dir.clone(), waiting.clone());
        let done;
        (away, done) = blocking(move || {
            let done = deliver_due(&dir, &mut away, &shown);
            (away, done)
        })
        .await;
        if let Err(error) = done {
            let error = with_causes(&error);
            tracing::warn!(error, "waiting releases cannot be read");
            waiting.update(Seen {
                problem: Some(error),
                ..Seen::default()
            });
        }
    }
}

/// Delivers what can be delivered; says how many wait, before and after.
fn deliver_due(state_dir: &Path, away: &mut Away, shown: &Waiting) -> Result<(), QueueError> {
    let queue = Queue::new(state_dir);
    let by_server = queue.by_server()?;
    shown.update(seen(&by_server));
    if by_server.is_empty() {
        return Ok(());
    }
    let now = Instant::now();
    away.servers.retain(|server| by_server.contains_key(server));
    let waits = |name: &String| {
        by_server
            .values()
            .flatten()
            .any(|entry| entry.name == *name)
    };
    away.releases.retain(waits);
    let due: Vec<(&Server, Vec<String>)> = by_server
        .iter()
        .filter(|(server, _)| away.servers.is_due(server, now))
        .map(|(server, entries)| {
            let names = entries.iter().map(|entry| &entry.name);
            let due = names.filter(|name| away.releases.is_due(name, now));
            (server, due.cloned().collect())
        })
        .collect();
    for some in due.chunks(SERVERS) {
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let delivering: Vec<_> = some
                .iter()
                .map(|(server, names)| scope.spawn(|| deliver(&queue, server, names)))
                .collect();
            let joined = delivering.into_iter().map(thread::ScopedJoinHandle::join);
            joined.map(Result::unwrap_or_default).collect()
        });
        for ((server, _), outcome) in some.iter().zip(outcomes) {
            away.note(server, outcome);
        }
    }
    shown.update(seen(&queue.by_server()?));
    Ok(())
}

fn seen(by_server: &BTreeMap<Server, Vec<Entry>>) -> Seen {
    let all = || by_server.values().flatten();
    Seen {
        number: all().count(),
        oldest: all().map(|entry| entry.since).min(),
        problem: None,
    }
}

/// What came of a server's releases.
#[derive(Debug, Default)]
struct Outcome {
    done: usize,
    /// Files that wait on.
    left: Vec<String>,
    error: Option<String>,
}

impl Away {
    fn note(&mut self, server: &Server, outcome: Outcome) {
        let now = Instant::now();
        if let Some(error) = outcome.error {
            tracing::warn!(server = server.address, error, "releases wait on");
            if outcome.done == 0 {
                self.servers.begin(server.clone(), now);
            }
        }
        if outcome.done > 0 {
            self.servers.retain(|other| other != server);
        }
        // The next ones come before those that were left.
        for name in outcome.left {
            self.releases.begin(name, now);
        }
    }
}

/// Delivers all of a server's releases, or says why not: the next ones are tried though some are left.
fn deliver(queue: &Queue, server: &Server, names: &[String]) -> Outcome {
    let mut outcome = Outcome::default();
    for some in names.chunks(AT_ONCE) {
        let client = match Client::connect(server, None, LIMIT, false) {
            Ok(client) => client,
            Err(error) => {
                outcome.error = Some(with_causes(&error));
                return outcome;
            }
        };
        let delivered = queue.deliver_files(some, server, &client, ANSWER);
        let is_silent = delivered.done == 0 && delivered.left.len() == some.len();
        outcome.done += delivered.done;
        for (name, error) in delivered.left {
            outcome.error.get_or_insert(error);
            outcome.left.push(name);
        }
        if is_silent {
            break;
        }
    }
    outcome
}
