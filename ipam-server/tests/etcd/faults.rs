//! A cluster whose members are killed, hang and come back, below ledgers that are asked all the time. Every answer is checked
//! against what all ledgers say at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipam_core::event::Event;
use ipam_core::lease::{Lease, LeaseId};
use ipam_server::api::Api;
use ipam_server::ledger::Ledger;
use proto::ipam::v1 as ipam;
use tokio::task::JoinSet;

use crate::ledgers::{ask, caller, create_pool, ledger};
use crate::member::{Member, settings};

/// Callers at once.
const CALLERS: usize = 32;
/// Answers between two faults.
const ANSWERS: u64 = 200;
/// How long a request is made again before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the callers share.
struct Shared {
    apis: Vec<Api>,
    stop: AtomicBool,
    answers: AtomicU64,
    again: AtomicU64,
    began: Instant,
    /// When the last answer came, and the longest time without one, in milliseconds.
    last: AtomicU64,
    longest: AtomicU64,
}

/// A cluster, ledgers over it, and callers.
struct Scene {
    members: Vec<Member>,
    ledgers: Vec<Ledger>,
    callers: JoinSet<BTreeMap<String, ipam::Lease>>,
    shared: Arc<Shared>,
}

impl Scene {
    async fn start() -> Scene {
        let members = Member::start_cluster(3);
        let settings = settings(&members);
        let mut ledgers = Vec::new();
        for _ in 0..3 {
            ledgers.push(ledger(&settings).await);
        }
        let apis: Vec<_> = ledgers.iter().cloned().map(Api::new).collect();
        create_pool(&apis[0], "10.0.0.0/8", "fd00::/64", None).await;
        let shared = Arc::new(Shared {
            apis,
            stop: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            again: AtomicU64::new(0),
            began: Instant::now(),
            last: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        });
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            callers.spawn(shared.clone().call(number));
        }
        Scene {
            members,
            ledgers,
            callers,
            shared,
        }
    }

    /// Waits for more answers.
    async fn wait(&self) {
        let wanted = self.shared.answers.load(Ordering::Relaxed) + ANSWERS;
        let end = Instant::now() + PATIENCE;
        while self.shared.answers.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < end, "nobody is answered");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the callers. What they hold is what every ledger says.
    async fn check(mut self, what: &str) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut held = BTreeMap::new();
        while let Some(one) = self.callers.join_next().await {
            held.extend(one.unwrap());
        }
        for ledger in &self.ledgers {
            let (all, events) = settled(ledger).await;
            let active = all.iter().filter(|lease| lease.is_active());
            let found: BTreeSet<_> = active.map(|lease| lease.id.to_string()).collect();
            assert_eq!(found, held.keys().cloned().collect(), "{what}");
            let ipv4: BTreeSet<_> = all.iter().map(|lease| lease.ipv4).collect();
            let ipv6: BTreeSet<_> = all.iter().map(|lease| lease.ipv6).collect();
            assert_eq!((ipv4.len(), ipv6.len()), (all.len(), all.len()), "{what}");
            assert_eq!(ledger.check_consistency().await.unwrap().problems, [""; 0]);
            let revisions = events.iter().map(|event| event.revision);
            let last = *ledger.revision().borrow();
            assert!(revisions.eq(1..=last), "{what}: every revision once");
        }
        for ledger in &self.ledgers {
            ledger.stop().await;
        }
        let shared = &self.shared;
        println!(
            "{what}: {} answers, {} requests made again, at most {} ms without an answer, {} leases, violations 0",
            shared.answers.load(Ordering::Relaxed),
            shared.again.load(Ordering::Relaxed),
            shared.longest.load(Ordering::Relaxed),
            held.len(),
        );
    }
}

impl Shared {
    /// Allocates, and releases two of three; returns what it holds at the end.
    async fn call(self: Arc<Shared>, number: usize) -> BTreeMap<String, ipam::Lease> {
        let mut held = BTreeMap::new();
        let mut turn = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let wanted = ask(number * 1_000_000 + turn);
            let lease = self
                .again(number + turn, |api| {
                    let (api, wanted) = (api.clone(), wanted.clone());
                    async move { api.allocate(&caller(), wanted).await }
                })
                .await
                .unwrap();
            let lease = lease.lease.unwrap();
            if turn % 3 == 0 {
                held.insert(lease.id.clone(), lease);
            } else {
                let ended = self.again(number + turn + 1, |api| {
                    let api = api.clone();
                    let release = ipam::ReleaseRequest {
                        id: lease.id.clone(),
                        ..Default::default()
                    };
                    async move { api.release(&caller(), release).await.map(|_| ()) }
                });
                // A request before may have ended it without an answer.
                if let Err(reason) = ended.await {
                    assert!(["LEASE_NOT_FOUND", "STALE_GENERATION"].contains(&reason));
                }
            }
            turn += 1;
        }
        held
    }

    /// Asks one ledger, and the next one if that one is of no use; else the reason of its refusal.
    async fn again<T, F>(&self, first: usize, call: impl Fn(&Api) -> F) -> Result<T, &'static str>
    where
        F: Future<Output = Result<T, ipam_server::error::Error>>,
    {
        let end = Instant::now() + PATIENCE;
        for at in first.. {
            let answer = call(&self.apis[at % self.apis.len()]).await;
            let answer = answer.map_err(|error| error.reason());
            if !matches!(answer, Err("STORE_UNAVAILABLE" | "CONTENTION")) {
                self.answered();
                return answer;
            }
            assert!(Instant::now() < end, "no answer");
            self.again.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err("UNREACHED")
    }

    fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        let last = self.last.swap(now, Ordering::Relaxed);
        self.longest
            .fetch_max(now.saturating_sub(last), Ordering::Relaxed);
    }
}

/// All leases and events, once the ledger's store is well again.
async fn settled(ledger: &Ledger) -> (Vec<Lease>, Vec<Event>) {
    let end = Instant::now() + PATIENCE;
    loop {
        let leases = ledger.leases(LeaseId(0), usize::MAX).await;
        let events = ledger.events(0, usize::MAX).await;
        match (leases, events) {
            (Ok(leases), Ok(events)) => return (leases, events),
            (Err(error), _) | (_, Err(error)) => {
                assert_eq!(error.reason(), "STORE_UNAVAILABLE");
                assert!(Instant::now() < end, "{error}");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leading_member_is_killed_and_comes_back() {
    let mut scene = Scene::start().await;
    for _ in 0..3 {
        scene.wait().await;
        let leader = scene.members.iter().position(Member::leads);
        let leader = &mut scene.members[leader.unwrap_or(0)];
        leader.kill();
        scene.wait().await;
        scene.members.iter_mut().for_each(Member::launch_if_dead);
        scene.members.iter().for_each(Member::wait);
    }
    scene.check("leading member killed three times").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_member_hangs_in_turn() {
    let scene = Scene::start().await;
    for member in &scene.members {
        scene.wait().await;
        member.stop();
        scene.wait().await;
        member.go_on();
    }
    scene.check("each member stopped in turn").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quorum_is_lost_and_comes_back() {
    let mut scene = Scene::start().await;
    scene.wait().await;
    scene.members[0].kill();
    scene.members[1].kill();
    for ledger in &scene.ledgers {
        // Without a quorum there is no answer, and none that could be old.
        let mut health = ledger.health();
        let noticed = tokio::time::timeout(PATIENCE, health.wait_for(Result::is_err)).await;
        drop(noticed.unwrap().unwrap());
        let refused = ledger.leases(LeaseId(0), 1).await;
        assert_eq!(refused.unwrap_err().reason(), "STORE_UNAVAILABLE");
    }
    scene.members.iter_mut().for_each(Member::launch_if_dead);
    scene.members.iter().for_each(Member::wait);
    scene.wait().await;
    scene.check("quorum lost once").await;
}
