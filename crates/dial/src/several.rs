//! Several servers of one service: which of them gets a call, and when the next one gets it too. A call goes to the server that
//! answered last, and to the next one at once if that server is of no use now. A server that is silent keeps its call: the
//! next one gets the call beside it, and the first answer counts. So calls must be ones that a server can get twice, as those of
//! `ipam.v1` are: by their `request_id`, their attachment, or because they only read.
//!
//! [`Addresses`] are read here; `request` repeats a call over HTTP/2.

mod addresses;
mod request;

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout_at};

pub use addresses::Addresses;
pub use request::{Repeated, Unread, is_unavailable, time_limit};

/// How long a server may be silent before the next one gets the call too: at most. The choice of another leader of etcd, in which
/// a server is silent without a fault of its own, takes 1 to 2 s.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);
/// Between two rounds in which no server was of use.
const PAUSE: Duration = Duration::from_millis(50);

/// The server that answered last: the first one in the beginning. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Preferred(Arc<AtomicUsize>);

impl Preferred {
    /// Begins with another server than the first one.
    pub fn new(at: usize) -> Preferred {
        Preferred(Arc::new(AtomicUsize::new(at)))
    }

    /// The number of the server, from 0.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// All numbers below `count`, in the order in which the servers are asked.
    pub fn order(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let first = self.get();
        (0..count).map(move |number| (first + number) % count)
    }

    fn set(&self, at: usize) {
        self.0.store(at, Ordering::Relaxed);
    }
}

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// When nobody waits for the answer any more; none: the caller ends the call by dropping it.
    pub deadline: Option<Instant>,
    /// Until when all servers are asked again and again if none is of use.
    pub patience: Instant,
}

/// A server that is of no use for a call: another one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away<E> {
    /// Why it is of no use.
    pub why: E,
    /// Whether the same server may be of use a moment later.
    pub is_transient: bool,
}

/// Makes a call: `send` sends it to the server of a number below `count`. What a server answers is `Ok`, also if that is an error
/// that another server would answer too.
///
/// # Errors
/// Why the last server that said something was of no use; none if all were silent until the deadline.
pub async fn ask<T, E, F>(
    count: usize,
    preferred: &Preferred,
    time: Time,
    mut send: impl FnMut(usize) -> F,
) -> Result<T, Option<E>>
where
    F: Future<Output = Result<T, Away<E>>>,
{
    // Servers that have the call and have not answered.
    let mut silent = BTreeSet::new();
    let mut sent = FuturesUnordered::new();
    let mut last = None;
    loop {
        let order = preferred.order(count);
        let mut waiting: VecDeque<usize> = order.filter(|at| !silent.contains(at)).collect();
        let mut again = None;
        loop {
            let mut until = again;
            if let Some(at) = waiting.pop_front() {
                silent.insert(at);
                sent.push(send(at).map(move |answer| (at, answer)));
                until = silence(time.deadline, waiting.len()).or(again);
            }
            match next(&mut sent, earlier(until, time.deadline)).await {
                Some((at, Ok(answer))) => {
                    preferred.set(at);
                    return Ok(answer);
                }
                Some((at, Err(away))) => {
                    silent.remove(&at);
                    last = Some(away.why);
                    let now = Instant::now();
                    if away.is_transient && now < time.patience {
                        again.get_or_insert(now + PAUSE);
                    }
                }
                // Nobody has the call any more, or the time is over.
                None if waiting.is_empty() => break,
                None => {}
            }
        }
        let is_late = time.deadline.is_some_and(|end| Instant::now() >= end);
        match again.filter(|_| !is_late) {
            Some(again) => sleep_until(again).await,
            None => return Err(last),
        }
    }
}

/// The next answer that comes until then; none if none comes, or if none is awaited.
async fn next<A>(sent: &mut FuturesUnordered<A>, until: Option<Instant>) -> Option<A::Output>
where
    A: Future,
{
    match until {
        Some(until) => timeout_at(until, sent.next()).await.ok().flatten(),
        None => sent.next().await,
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// Until when the server that gets a call may be silent before the next one gets it: its share of the time, if `others` do not
/// have the call yet; none if there is no other.
fn silence(deadline: Option<Instant>, others: usize) -> Option<Instant> {
    if others == 0 {
        return None;
    }
    let now = Instant::now();
    let left = deadline.map_or(Duration::MAX, |end| end.saturating_duration_since(now));
    let share = left / u32::try_from(others + 1).unwrap_or(u32::MAX);
    Some(now + share.min(LONGEST_SILENCE))
}

#[cfg(test)]
mod tests;
