//! What the tests of the ledger share: a clock that is set, a store that fails on demand, and short requests.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use ipam_core::event::Event;
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::pool::Pool;
use ipam_core::reservation::Reservation;
use jiff::Timestamp;
use proto::ipam::v1 as ipam;
use tokio::sync::oneshot;

use super::super::{Caller, Ledger, Limits};
use crate::api::Api;
use crate::clock::Clock;
use crate::store::memory::MemoryStore;
use crate::store::{Append, Extent, Group, Log, Origin, Position, Store, StoreError};
use crate::wire::{event, lease};

/// A clock that stands still until it is set.
pub(super) struct TestClock(AtomicI64);

impl TestClock {
    pub(super) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// A memory store whose appends can be made to fail.
#[derive(Default)]
pub(super) struct TestStore {
    inner: MemoryStore,
    pub(super) fails: AtomicBool,
    /// Another server is always first.
    pub(super) overtakes: AtomicBool,
    /// The next append waits here.
    held: Mutex<Option<(oneshot::Sender<()>, Receiver<()>)>>,
    /// Revisions that were made durable, group by group.
    pub(super) commits: Mutex<Vec<Vec<u64>>>,
}

/// An append that is held up.
pub(super) struct Hold {
    reached: oneshot::Receiver<()>,
    go: Sender<()>,
}

impl Hold {
    /// Waits until the append has begun.
    pub(super) async fn reached(&mut self) {
        (&mut self.reached).await.unwrap();
    }

    /// Lets the append go on.
    pub(super) fn go(&self) {
        self.go.send(()).unwrap();
    }
}

impl TestStore {
    /// Holds the next append up.
    pub(super) fn hold(&self) -> Hold {
        let (begun, reached) = oneshot::channel();
        let (go, goes) = channel();
        *self.held.lock().unwrap() = Some((begun, goes));
        Hold { reached, go }
    }
}

impl Store for TestStore {
    fn name(&self) -> &'static str {
        "test"
    }
    fn extent(&self) -> Result<Extent, StoreError> {
        self.inner.extent()
    }
    fn origin(&self) -> Result<Option<Origin>, StoreError> {
        self.inner.origin()
    }
    fn pools(&self) -> Result<Vec<Pool>, StoreError> {
        self.inner.pools()
    }
    fn reservations(&self) -> Result<Vec<Reservation>, StoreError> {
        self.inner.reservations()
    }
    fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        self.inner.lease(id)
    }
    fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, StoreError> {
        self.inner.leases(after, limit)
    }
    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.inner.events(after, limit)
    }
    fn events_back(&self, before: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.inner.events_back(before, limit)
    }
}

impl Log for TestStore {
    fn append(&self, at: Position, group: &Group) -> Result<Append, StoreError> {
        let mut held = self.held.lock().unwrap();
        if !group.is_empty()
            && let Some((reached, goes)) = held.take()
        {
            drop(held);
            reached.send(()).unwrap();
            goes.recv().unwrap();
        }
        if self.fails.load(Ordering::SeqCst) && !group.is_empty() {
            return Err(full());
        }
        if self.overtakes.load(Ordering::SeqCst) && !group.is_empty() {
            return Ok(Append::Behind(Vec::new(), at));
        }
        let appended = self.inner.append(at, group)?;
        let revisions: Vec<_> = group.events.iter().map(|event| event.revision).collect();
        if !revisions.is_empty() && matches!(appended, Append::Appended(_)) {
            self.commits.lock().unwrap().push(revisions);
        }
        Ok(appended)
    }
    fn recover(&self) -> Result<(), StoreError> {
        match self.fails.load(Ordering::SeqCst) {
            true => Err(full()),
            false => Ok(()),
        }
    }
}

fn full() -> StoreError {
    StoreError::Full {
        store: "/test".into(),
    }
}

/// A ledger with its clock and store.
pub(super) struct Bench {
    pub(super) ledger: Ledger,
    pub(super) api: Api,
    pub(super) clock: Arc<TestClock>,
    pub(super) store: Arc<TestStore>,
    limits: Limits,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Bench {
        let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000_000)));
        let store = Arc::new(TestStore::default());
        Bench::over(store, clock, limits)
    }

    fn over(store: Arc<TestStore>, clock: Arc<TestClock>, limits: Limits) -> Bench {
        let ledger = Ledger::start(store.clone(), clock.clone(), limits, None).unwrap();
        Bench {
            api: Api::new(ledger.clone()),
            ledger,
            clock,
            store,
            limits,
        }
    }

    /// Another server over the same log.
    pub(super) fn beside(&self) -> Bench {
        Bench::over(self.store.clone(), self.clock.clone(), self.limits)
    }

    /// Ends the ledger and loads another one from the store.
    pub(super) async fn restart(&mut self) {
        self.ledger.stop().await;
        *self = self.beside();
    }

    pub(super) async fn pool(&self, pool: ipam::Pool) -> ipam::Pool {
        let request = ipam::CreatePoolRequest {
            pool: Some(pool),
            ..Default::default()
        };
        self.api.create_pool(&caller(), request).await.unwrap()
    }

    pub(super) async fn get_pool(&self, name: &str) -> ipam::Pool {
        self.api.get_pool(&caller(), name.to_owned()).await.unwrap()
    }

    pub(super) async fn give(
        &self,
        request: ipam::AllocateRequest,
    ) -> Result<ipam::Lease, crate::error::Error> {
        self.api
            .allocate(&caller(), request)
            .await
            .map(|answer| answer.lease.unwrap())
    }

    pub(super) async fn end(&self, lease: &ipam::Lease) -> Result<(), crate::error::Error> {
        let request = ipam::ReleaseRequest {
            id: lease.id.clone(),
            generation: lease.generation,
            validate_only: false,
        };
        self.api.release(&caller(), request).await.map(|_| ())
    }

    pub(super) async fn leases(&self) -> Vec<ipam::Lease> {
        let leases = self.ledger.leases(LeaseId(0), usize::MAX).await.unwrap();
        leases.into_iter().map(lease::encode).collect()
    }

    /// The history.
    pub(super) async fn events(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ipam::Event>, crate::error::Error> {
        let events = self.ledger.events(after, limit).await?;
        Ok(events.into_iter().map(event::encode).collect())
    }

    /// Everything agrees: memory and store, counts and leases.
    pub(super) async fn assert_consistent(&self) {
        let check = self.ledger.check_consistency().await.unwrap();
        assert_eq!(check.problems, [""; 0]);
    }

    /// Waits until a lease is in a state; the ledger notices a time that was set within a second.
    pub(super) async fn wait_for(&self, what: &str, holds: impl Fn(&[ipam::Lease]) -> bool) {
        let mut revision = self.ledger.revision();
        let waited = tokio::time::timeout(std::time::Duration::from_secs(30), async {
            while !holds(&self.leases().await) {
                revision.changed().await.unwrap();
            }
        });
        waited
            .await
            .unwrap_or_else(|_| panic!("{what} did not happen"));
    }
}

pub(super) fn caller() -> Caller {
    Caller {
        actor: "test".into(),
        ..Caller::default()
    }
}

/// A pool of both families.
pub(super) fn dual(name: &str, ipv4: &str, ipv6: &str) -> ipam::Pool {
    let subnet = |cidr: &str| ipam::Subnet {
        cidr: cidr.into(),
        ..Default::default()
    };
    ipam::Pool {
        name: name.into(),
        ipv4: (!ipv4.is_empty()).then(|| subnet(ipv4)),
        ipv6: (!ipv6.is_empty()).then(|| subnet(ipv6)),
        ..Default::default()
    }
}

pub(super) fn seconds(seconds: i64) -> Option<pbjson_types::Duration> {
    Some(pbjson_types::Duration { seconds, nanos: 0 })
}

/// What the attachment number `n` asks of a pool.
pub(super) fn ask(pool: &str, n: usize) -> ipam::AllocateRequest {
    ipam::AllocateRequest {
        pools: vec![pool.into()],
        owner: Some(ipam::Owner {
            namespace: "ns".into(),
            pod: format!("pod-{n}"),
            container_id: format!("c{n}"),
            ifname: "net1".into(),
            network: "blue".into(),
            node: format!("n{}", n % 2),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The same for the claim of a program, which is no attachment.
pub(super) fn ask_for_claim(pool: &str, n: usize) -> ipam::AllocateRequest {
    ipam::AllocateRequest {
        owner: Some(ipam::Owner {
            claim: format!("vm-{n}"),
            ..Default::default()
        }),
        ..ask(pool, n)
    }
}
