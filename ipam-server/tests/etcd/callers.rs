//! Callers that have the addresses of all servers (`dial::several`), as meta-ipam, the agent and ipamctl are: servers are killed,
//! stopped and replaced, and no call fails.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dial::several::{Away, Preferred, Time, ask};
use nix::sys::signal::Signal;
use proto::ipam::v1 as ipam;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::ledgers;
use crate::member::Member;
use crate::servers::{Server, three_servers};

/// How long a call may take, as a configuration of meta-ipam may say.
const LIMIT: Duration = Duration::from_secs(20);
const CALLERS: usize = 16;
/// Leases of each caller; each second one is released again.
const LEASES: usize = 60;

/// A caller with the addresses of all servers.
#[derive(Clone)]
struct Caller {
    channels: Arc<[Channel]>,
    preferred: Preferred,
    /// Calls of all callers that were answered.
    answered: watch::Sender<usize>,
    /// Those that another server than the first one answered.
    moved: Arc<AtomicUsize>,
}

impl Caller {
    async fn call<A, F>(
        &self,
        send: impl Fn(LeaseServiceClient<Channel>) -> F,
    ) -> Result<A, Option<Status>>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let end = Instant::now() + LIMIT;
        let time = Time {
            deadline: Some(end),
            patience: end,
        };
        let before = self.preferred.get();
        let answer = ask(self.channels.len(), &self.preferred, time, |at| {
            let sent = send(LeaseServiceClient::new(self.channels[at].clone()));
            async move {
                match sent.await {
                    Err(why) if is_away(&why) => Err(Away {
                        why,
                        is_transient: true,
                    }),
                    answer => Ok(answer),
                }
            }
        });
        let answer = answer.await?;
        if self.preferred.get() != before {
            self.moved.fetch_add(1, Ordering::Relaxed);
        }
        self.answered.send_modify(|count| *count += 1);
        answer.map(Response::into_inner).map_err(Some)
    }

    async fn allocate(&self, number: usize) -> ipam::Lease {
        let answer = self
            .call(|mut client| async move { client.allocate(limited(ledgers::ask(number))).await });
        let answer = answer.await;
        answer.expect("no call fails").lease.unwrap()
    }

    async fn release(&self, lease: &ipam::Lease) {
        let owner = lease.owner.clone().unwrap();
        let request = ipam::ReleaseAttachmentRequest {
            network: owner.network,
            container_id: owner.container_id,
            ifname: owner.ifname,
        };
        let answer = self.call(|mut client| {
            let request = limited(request.clone());
            async move { client.release_attachment(request).await }
        });
        answer.await.expect("no call fails");
    }

    /// Leases and releases; returns what is still held.
    async fn work(self, caller: usize) -> Vec<ipam::Lease> {
        let mut held = Vec::new();
        for lease in 0..LEASES {
            let got = self.allocate(caller * LEASES + lease).await;
            match lease % 2 {
                0 => held.push(got),
                _ => self.release(&got).await,
            }
        }
        held
    }
}

fn limited<Q>(question: Q) -> Request<Q> {
    let mut request = Request::new(question);
    request.set_timeout(LIMIT);
    request
}

/// As meta-ipam takes it: only what the transport reports has a cause.
fn is_away(status: &Status) -> bool {
    status.code() == Code::Unavailable || std::error::Error::source(status).is_some()
}

/// Breaks servers, one after the other, each when so many calls more are answered.
async fn break_servers(servers: &mut [Server; 3], mut answered: watch::Receiver<usize>) {
    const STEPS: [fn(&mut [Server; 3]); 8] = [
        |servers| servers[0].kill(),
        |servers| servers[1].signal(Signal::SIGSTOP),
        |servers| servers[0].launch(),
        |servers| servers[1].signal(Signal::SIGCONT),
        |servers| servers[0].roll(),
        |servers| servers[1].roll(),
        |servers| servers[2].roll(),
        |servers| servers[0].kill(),
    ];
    let calls = CALLERS * LEASES * 3 / 2;
    for (number, step) in (1..).zip(STEPS) {
        let at = number * calls / (STEPS.len() + 2);
        answered.wait_for(|&count| count >= at).await.unwrap();
        block_in_place(|| step(servers));
    }
    block_in_place(|| servers[0].launch());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_servers_are_killed_stopped_and_replaced() {
    let member = Member::start(&[]);
    let mut servers = three_servers(&member, "10.0.0.0/20").await;
    let (answered, seen) = watch::channel(0);
    let moved = Arc::new(AtomicUsize::new(0));
    let channels: Arc<[Channel]> = servers.iter().map(Server::channel).collect();
    let mut work = JoinSet::new();
    for caller in 0..CALLERS {
        let one = Caller {
            channels: channels.clone(),
            preferred: Preferred::default(),
            answered: answered.clone(),
            moved: moved.clone(),
        };
        work.spawn(one.work(caller));
    }
    break_servers(&mut servers, seen).await;
    let mut held = BTreeMap::new();
    while let Some(leases) = work.join_next().await {
        held.extend(
            leases
                .unwrap()
                .into_iter()
                .map(|lease| (lease.id.clone(), lease)),
        );
    }
    assert_eq!(held.len(), CALLERS * LEASES / 2);
    assert!(moved.load(Ordering::Relaxed) >= CALLERS, "callers moved on");
    for server in &servers {
        let all = server.leases().await;
        let active = |lease: &&ipam::Lease| lease.state() == ipam::lease::State::Active;
        let pairs = all.iter().map(|lease| (&lease.ipv4, &lease.ipv6));
        assert_eq!(pairs.collect::<BTreeSet<_>>().len(), all.len(), "one twice");
        let all: BTreeMap<_, _> = all
            .iter()
            .filter(active)
            .map(|lease| (lease.id.clone(), lease))
            .collect();
        for (id, lease) in &held {
            assert_eq!(all.get(id), Some(&lease), "an answer was lost");
        }
    }
}
