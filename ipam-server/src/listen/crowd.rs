//! How many connections are open at once, of one peer and in all. At a limit the oldest connection over which no caller with a
//! role made a request yet is closed for a new one: connections of strangers, however many, keep nobody out. Where all are
//! in use, the new one is closed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use process::accept::Used;
use tokio::sync::oneshot;

use crate::metrics::Metrics;

/// Connections of one peer by default, but at most a quarter of all: the agent of a node has one, so that a thousand nodes behind
/// one address find room, and one address does not take every place.
const OF_PEER: usize = 1024;
/// The most of all, where nothing else is said: a limit of open files may be a thousand times as much.
const IN_ALL: usize = 65_536;

/// How many connections are open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Of all peers; none: by the limit of open files.
    in_all: Option<usize>,
    /// Of one peer; none: the default.
    of_peer: Option<usize>,
}

impl Most {
    /// What was said, or the defaults.
    pub fn of(in_all: Option<usize>, of_peer: Option<usize>) -> Most {
        Most {
            in_all: in_all.map(|most| most.max(1)),
            of_peer: of_peer.map(|most| most.max(1)),
        }
    }

    fn in_all(&self) -> usize {
        let files = process::limits::open_files();
        // The rest is for the store, the log, and connections that are being closed.
        let some = files - files.div_ceil(4).max(64.min(files / 2));
        self.in_all.unwrap_or(some.clamp(1, IN_ALL))
    }
}

/// Where connections come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A user of this machine.
    User(u32),
    /// An IPv4 address, or the first half of an IPv6 address: one host has all of the other half.
    Address(IpAddr),
    /// The kernel does not say.
    Unknown,
}

impl Origin {
    /// The origin of an address.
    pub fn of(address: IpAddr) -> Origin {
        Origin::Address(match address.to_canonical() {
            IpAddr::V6(six) => {
                let network = six.to_bits() & (u128::MAX << 64);
                Ipv6Addr::from_bits(network).into()
            }
            four => four,
        })
    }
}

/// The connections that are open.
pub struct Crowd {
    in_all: usize,
    of_peer: usize,
    open: Mutex<Open>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Open {
    next: u64,
    all: BTreeMap<u64, Entry>,
    /// Those of `all` over which no caller with a role had made a request at the last check, the oldest first.
    idle: BTreeSet<u64>,
    peers: HashMap<Origin, Peer>,
}

#[derive(Default)]
struct Peer {
    count: usize,
    /// As [`Open::idle`].
    idle: BTreeSet<u64>,
}

struct Entry {
    origin: Origin,
    used: Used,
    close: oneshot::Sender<()>,
}

/// The admission of one connection; dropping it makes room.
pub struct Admission {
    number: u64,
    crowd: Arc<Crowd>,
    /// Ready once another connection was admitted in its stead.
    lost: Option<oneshot::Receiver<()>>,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(most: Most, metrics: Arc<Metrics>) -> Crowd {
        let in_all = most.in_all();
        Crowd {
            in_all,
            of_peer: most.of_peer.unwrap_or(OF_PEER.min(in_all.div_ceil(4))),
            open: Mutex::default(),
            metrics,
        }
    }

    /// Admits a connection; `used` notes that a caller with a role made a request over it. None if all others are in use.
    pub fn admit(self: &Arc<Crowd>, origin: Origin, used: Used) -> Option<Admission> {
        let mut open = self.open();
        let count = open.peers.get(&origin).map_or(0, |peer| peer.count);
        let has_room = (count < self.of_peer || self.make_room(&mut open, Some(origin)))
            && (open.all.len() < self.in_all || self.make_room(&mut open, None));
        if !has_room {
            self.metrics.connection_closed("new");
            return None;
        }
        let number = open.next;
        open.next += 1;
        let (close, lost) = oneshot::channel();
        open.idle.insert(number);
        let peer = open.peers.entry(origin).or_default();
        peer.count += 1;
        peer.idle.insert(number);
        open.all.insert(
            number,
            Entry {
                origin,
                used,
                close,
            },
        );
        self.metrics.connections(open.all.len());
        Some(Admission {
            number,
            crowd: self.clone(),
            lost: Some(lost),
        })
    }

    /// Closes the oldest connection over which no caller with a role made a request, of one peer or of all.
    fn make_room(&self, open: &mut Open, of: Option<Origin>) -> bool {
        while let Some(number) = open.oldest(of) {
            open.forget_idle(number);
            let is_used = open.all.get(&number).is_none_or(|entry| entry.used.get());
            if is_used {
                continue;
            }
            if let Some(entry) = open.remove(number) {
                // A connection that has ended by itself has made room as well.
                let _ = entry.close.send(());
                self.metrics.connection_closed("idle");
                return true;
            }
        }
        false
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn oldest(&self, of: Option<Origin>) -> Option<u64> {
        match of {
            Some(origin) => self.peers.get(&origin)?.idle.first().copied(),
            None => self.idle.first().copied(),
        }
    }

    fn forget_idle(&mut self, number: u64) {
        self.idle.remove(&number);
        let origin = self.all.get(&number).map(|entry| entry.origin);
        if let Some(peer) = origin.and_then(|origin| self.peers.get_mut(&origin)) {
            peer.idle.remove(&number);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        self.forget_idle(number);
        let entry = self.all.remove(&number)?;
        if let Some(peer) = self.peers.get_mut(&entry.origin) {
            peer.count -= 1;
            if peer.count == 0 {
                self.peers.remove(&entry.origin);
            }
        }
        Some(entry)
    }
}

impl Admission {
    /// Ready once another connection was admitted in its stead.
    pub fn poll_lost(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(lost) = &mut self.lost else {
            return Poll::Ready(());
        };
        let polled = lost.poll_unpin(context).map(drop);
        if polled.is_ready() {
            self.lost = None;
        }
        polled
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.crowd.open();
        open.remove(self.number);
        self.crowd.metrics.connections(open.all.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(in_all: usize, of_peer: usize) -> Arc<Crowd> {
        let most = Most::of(Some(in_all), Some(of_peer));
        Arc::new(Crowd::new(most, Arc::default()))
    }

    fn is_lost(place: &mut Admission) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        place.poll_lost(&mut context).is_ready()
    }

    #[test]
    fn the_oldest_connection_without_a_request_makes_room_for_a_new_one() {
        let crowd = crowd(3, 2);
        let (one, two) = (Origin::User(1), Origin::User(2));
        let used = Used::default();
        used.note();
        let mut first = crowd.admit(one, used.clone()).unwrap();
        let mut second = crowd.admit(one, Used::default()).unwrap();
        // The peer's limit: the first one is in use.
        let mut third = crowd.admit(one, Used::default()).unwrap();
        assert!(!is_lost(&mut first) && is_lost(&mut second) && !is_lost(&mut third));
        // The limit of all.
        let mut other = crowd.admit(two, Used::default()).unwrap();
        let mut another = crowd.admit(two, Used::default()).unwrap();
        assert!(is_lost(&mut third) && !is_lost(&mut other));
        assert!(!is_lost(&mut first) && !is_lost(&mut another));
        drop((first, second, third, other, another));
        assert!(crowd.open().all.is_empty() && crowd.open().peers.is_empty());
    }

    #[test]
    fn where_all_are_in_use_a_new_one_is_closed_and_an_end_makes_room() {
        let crowd = crowd(8, 2);
        let used = || {
            let used = Used::default();
            used.note();
            used
        };
        let peer = Origin::of("10.0.0.1".parse().unwrap());
        let places = [crowd.admit(peer, used()), crowd.admit(peer, used())];
        assert!(places.iter().all(Option::is_some));
        assert!(crowd.admit(peer, used()).is_none());
        let other = Origin::of("10.0.0.2".parse().unwrap());
        assert!(crowd.admit(other, used()).is_some());
        drop(places);
        assert!(crowd.admit(peer, used()).is_some());
    }

    #[test]
    fn a_host_is_one_peer_by_whichever_of_its_addresses_it_comes() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("fd00::1"), of("fd00::ffff:ffff:ffff:ffff"));
        assert_ne!(of("fd00::1"), of("fd00:0:0:1::1"));
        assert_eq!(of("10.0.0.1"), of("::ffff:10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
