//! Several ledgers over one etcd, as several servers have them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ipam_server::api::Api;
use ipam_server::clock::SystemClock;
use ipam_server::error::{Error, Refusal};
use ipam_server::ledger::{Caller, Ledger, Limits};
use ipam_server::store::Store as _;
use ipam_server::store::etcd::EtcdSettings;
use proto::ipam::v1 as ipam;
use tokio::task::JoinSet;

use crate::member::{Member, open, settings};

const PATIENCE: Duration = Duration::from_secs(60);

/// A ledger of its own over the store.
pub(crate) async fn ledger(settings: &EtcdSettings) -> Ledger {
    let settings = settings.clone();
    let started = tokio::task::spawn_blocking(move || {
        let (store, clock) = (open(&settings), SystemClock::default());
        Ledger::start(Arc::new(store), Arc::new(clock), Limits::default(), None)
    });
    started.await.unwrap().unwrap()
}

pub(crate) fn caller() -> Caller {
    Caller {
        actor: "test".into(),
        ..Caller::default()
    }
}

/// Makes a pool; its TTL is that of each lease, its quarantine none.
pub(crate) async fn create_pool(api: &Api, ipv4: &str, ipv6: &str, ttl: Option<i64>) {
    let subnet = |cidr: &str| {
        Some(ipam::Subnet {
            cidr: cidr.to_owned(),
            ..Default::default()
        })
    };
    let seconds = |seconds| pbjson_types::Duration { seconds, nanos: 0 };
    let pool = ipam::Pool {
        name: "blue".into(),
        ipv4: subnet(ipv4),
        ipv6: subnet(ipv6),
        default_ttl: ttl.map(seconds),
        quarantine: ttl.map(|_| seconds(1)),
        ..Default::default()
    };
    let request = ipam::CreatePoolRequest {
        pool: Some(pool),
        ..Default::default()
    };
    api.create_pool(&caller(), request).await.unwrap();
}

pub(crate) fn ask(number: usize) -> ipam::AllocateRequest {
    ipam::AllocateRequest {
        pools: vec!["blue".into()],
        owner: Some(ipam::Owner {
            namespace: "ns".into(),
            pod: format!("pod-{number}"),
            container_id: format!("c{number}"),
            ifname: "net1".into(),
            network: "blue".into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// All leases as a ledger says.
pub(crate) async fn leases(ledger: &Ledger) -> Vec<ipam_core::lease::Lease> {
    let first = ipam_core::lease::LeaseId(0);
    ledger.leases(first, usize::MAX).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_ledgers_lease_a_pool_to_its_last_pair_and_none_twice() {
    let member = Member::start(&[]);
    let settings = member.settings();
    let ledgers = [
        ledger(&settings).await,
        ledger(&settings).await,
        ledger(&settings).await,
    ];
    let apis = ledgers.clone().map(Api::new);
    // Without network and broadcast of IPv4.
    create_pool(&apis[0], "10.0.0.0/18", "fd00::/114", None).await;
    let pairs = 16_382;
    let mut asking = JoinSet::new();
    for number in 0..pairs + 4 {
        let api = apis[number % 3].clone();
        asking.spawn(async move { api.allocate(&caller(), ask(number)).await });
    }
    let (mut given, mut exhausted) = (Vec::new(), 0);
    while let Some(answer) = asking.join_next().await {
        match answer.unwrap() {
            Ok(answer) => given.extend(answer.lease),
            Err(Error::Refused(Refusal::PoolExhausted { .. })) => exhausted += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((given.len(), exhausted), (pairs, 4));
    let addresses: BTreeSet<_> = given
        .iter()
        .map(|lease| (&lease.ipv4, &lease.ipv6))
        .collect();
    assert_eq!(addresses.len(), pairs, "an address was given twice");
    let all = leases(&ledgers[0]).await;
    assert_eq!(all.len(), pairs);
    for ledger in &ledgers {
        assert_eq!(leases(ledger).await, all);
        assert_eq!(ledger.check_consistency().await.unwrap().problems, [""; 0]);
        ledger.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_ledger_has_answered_every_other_one_knows() {
    let member = Member::start(&[]);
    let settings = member.settings();
    let ledgers = [ledger(&settings).await, ledger(&settings).await];
    let apis = ledgers.clone().map(Api::new);
    create_pool(&apis[0], "10.0.0.0/22", "fd00::/64", None).await;
    for number in 0..20 {
        let (one, two) = (number % 2, (number + 1) % 2);
        let answer = apis[one].allocate(&caller(), ask(number)).await.unwrap();
        let lease = answer.lease.unwrap();
        let found = apis[two].get_lease(&caller(), lease.id.clone()).await;
        assert_eq!(found.unwrap(), lease);
        assert_eq!(leases(&ledgers[two]).await.len(), number + 1);
        // The same attachment asks the other one: its answer was lost.
        let again = apis[two].allocate(&caller(), ask(number)).await.unwrap();
        assert_eq!(again.lease, Some(lease));
    }
    // A ledger that is not asked learns by itself.
    let mut revision = ledgers[1].revision();
    apis[0].allocate(&caller(), ask(100)).await.unwrap();
    let last = *ledgers[0].revision().borrow();
    let learned = tokio::time::timeout(PATIENCE, revision.wait_for(|&now| now >= last)).await;
    learned.unwrap().unwrap();
    for ledger in &ledgers {
        ledger.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_expires_and_leaves_quarantine_once_whoever_ends_it() {
    let member = Member::start(&[]);
    let settings = member.settings();
    let ledgers = [ledger(&settings).await, ledger(&settings).await];
    let api = Api::new(ledgers[0].clone());
    create_pool(&api, "10.0.0.0/24", "fd00::/64", Some(1)).await;
    for number in 0..10 {
        // The lease of a program: an attachment's ends with it.
        let owner = ipam::Owner {
            claim: format!("vm-{number}"),
            ..Default::default()
        };
        let asked = ipam::AllocateRequest {
            owner: Some(owner),
            ..ask(number)
        };
        api.allocate(&caller(), asked).await.unwrap();
    }
    // The pool, ten leases, their ends, the ends of their quarantines.
    let mut revision = ledgers[1].revision();
    let ended = tokio::time::timeout(PATIENCE, revision.wait_for(|&now| now >= 31)).await;
    drop(ended.unwrap().unwrap());
    for ledger in &ledgers {
        assert_eq!(leases(ledger).await, []);
        assert_eq!(ledger.events(0, 100).await.unwrap().len(), 31);
        ledger.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledgers_go_on_by_themselves_when_their_member_is_back() {
    let mut member = Member::start(&[]);
    let settings = member.settings();
    let ledgers = [ledger(&settings).await, ledger(&settings).await];
    let apis = ledgers.clone().map(Api::new);
    create_pool(&apis[0], "10.0.0.0/22", "fd00::/64", None).await;
    apis[1].allocate(&caller(), ask(0)).await.unwrap();
    member.kill();
    let refused = apis[0].allocate(&caller(), ask(1)).await.unwrap_err();
    assert_eq!(refused.reason(), "STORE_UNAVAILABLE", "{refused}");
    let mut health = ledgers[1].health();
    let noticed = tokio::time::timeout(PATIENCE, health.wait_for(Result::is_err)).await;
    drop(noticed.unwrap().unwrap());
    let unread = ledgers[1].leases(ipam_core::lease::LeaseId(0), 10).await;
    assert_eq!(unread.unwrap_err().reason(), "STORE_UNAVAILABLE");
    member.revive();
    for ledger in &ledgers {
        let mut health = ledger.health();
        let well = tokio::time::timeout(PATIENCE, health.wait_for(Result::is_ok)).await;
        drop(well.unwrap().unwrap());
    }
    for number in 0..10 {
        let api = &apis[number % 2];
        api.allocate(&caller(), ask(number)).await.unwrap();
    }
    for ledger in &ledgers {
        assert_eq!(leases(ledger).await.len(), 10);
        assert_eq!(ledger.check_consistency().await.unwrap().problems, [""; 0]);
        ledger.stop().await;
    }
}

/// Callers of a crowd, and the calls of each.
const CALLERS: usize = 256;
const CALLS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_over_three_ledgers_meets_no_contention_and_gets_no_pair_twice() {
    let member = Member::start(&[]);
    for count in [1, 3] {
        let settings = settings(std::slice::from_ref(&member));
        let mut ledgers = Vec::new();
        for _ in 0..count {
            ledgers.push(ledger(&settings).await);
        }
        let apis: Vec<_> = ledgers.iter().cloned().map(Api::new).collect();
        create_pool(&apis[0], "10.0.0.0/16", "fd00::/64", None).await;
        let began = std::time::Instant::now();
        let mut asking = JoinSet::new();
        for number in 0..CALLERS {
            let api = apis[number % count].clone();
            asking.spawn(async move {
                let mut pairs = Vec::new();
                for call in 0..CALLS {
                    let asked = ask(number * CALLS + call);
                    let answer = api.allocate(&caller(), asked).await.unwrap();
                    let lease = answer.lease.unwrap();
                    pairs.push((lease.ipv4, lease.ipv6));
                }
                pairs
            });
        }
        let pairs: BTreeSet<_> = asking.join_all().await.into_iter().flatten().collect();
        let took = began.elapsed();
        assert_eq!(pairs.len(), CALLERS * CALLS, "a pair was given twice");
        let groups = tokio::task::spawn_blocking(move || open(&settings).extent().unwrap());
        let groups = groups.await.unwrap().position.0;
        let rate = (CALLERS * CALLS) as f64 / took.as_secs_f64();
        println!("{CALLERS} callers, {count} servers: {rate:.0} pairs/s, in {groups} groups");
        for ledger in &ledgers {
            ledger.stop().await;
        }
    }
}
