//! Nodes, their pods, and what they ask for.

use std::sync::Arc;
use std::time::Instant;

use e2e::IpamServer;
use e2e::bench::Samples;
use e2e::ipam::request;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::{AllocateRequest, BatchAllocateRequest, Lease, ReleaseAttachmentRequest};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::held::Held;

/// Pods of a node, each with one pair.
pub(crate) const PODS: usize = 40;
const POOLS: usize = 8;
/// Nodes that call at the same time.
const AT_ONCE: usize = 64;

/// All nodes, in as many groups as call at the same time.
pub(crate) struct Fleet {
    groups: Vec<Group>,
}

/// Nodes that call one after the other.
struct Group {
    client: LeaseServiceClient<Channel>,
    held: Arc<Held>,
    name: usize,
    nodes: usize,
    /// Pods that were started.
    started: usize,
    /// The leases of those that run.
    running: Vec<Lease>,
}

impl Fleet {
    /// Nodes without pods, and the pools.
    pub(crate) async fn new(server: &IpamServer, nodes: usize) -> Fleet {
        for pool in 0..POOLS {
            let (ipv4, ipv6) = (format!("10.{pool}.0.0/16"), format!("fd00:{pool}::/64"));
            server.create_pool(&pool_name(pool), &ipv4, &ipv6).await;
        }
        let held = Arc::new(Held::default());
        let client = server.lease_client();
        let at_once = AT_ONCE.min(nodes);
        let groups = (0..at_once).map(|name| Group {
            client: client.clone(),
            held: held.clone(),
            name,
            nodes: nodes / at_once + usize::from(name < nodes % at_once),
            started: 0,
            running: Vec::new(),
        });
        Fleet {
            groups: groups.collect(),
        }
    }

    /// Fills every node, each by one call; how long the calls took.
    pub(crate) async fn fill(&mut self) -> Samples {
        self.all(Group::fill).await
    }

    /// Ends pods and starts others in their place: so many allocations and releases; how long the former took.
    pub(crate) async fn churn(&mut self, changes: usize) -> Samples {
        let each = changes / 2 / self.groups.len();
        self.all(move |group| group.churn(each)).await
    }

    async fn all<F>(&mut self, work: impl Fn(Group) -> F) -> Samples
    where
        F: Future<Output = (Group, Samples)> + Send + 'static,
    {
        let tasks = self.groups.drain(..).map(work);
        let mut tasks: JoinSet<_> = tasks.collect();
        let mut all = Samples::default();
        while let Some(ended) = tasks.join_next().await {
            let (group, calls) = ended.expect("no node's call failed");
            self.groups.push(group);
            all.extend(calls);
        }
        all
    }

    /// Asserts that the server holds what the nodes hold.
    ///
    /// # Panics
    /// When it holds anything else.
    pub(crate) async fn assert_held(&self, server: &IpamServer) {
        let leases = server.leases().await;
        if let Some(group) = self.groups.first() {
            group.held.assert_are(&leases);
        }
        server.assert_consistent().await;
    }
}

impl Group {
    /// The request of the next pod: every pool has as many.
    fn next(&mut self) -> AllocateRequest {
        let number = self.started;
        self.started += 1;
        let pool = pool_name(number % POOLS);
        request(&pool, &format!("pod-{}-{number}", self.name))
    }

    async fn fill(mut self) -> (Group, Samples) {
        let mut calls = Samples::default();
        for _ in 0..self.nodes {
            let batch = BatchAllocateRequest {
                requests: (0..PODS).map(|_| self.next()).collect(),
                ..BatchAllocateRequest::default()
            };
            let began = Instant::now();
            let answer = self.client.batch_allocate(batch).await;
            calls.push(began.elapsed());
            for answer in answer.expect("lease").into_inner().responses {
                self.run(answer.lease);
            }
        }
        (self, calls)
    }

    async fn churn(mut self, pods: usize) -> (Group, Samples) {
        let mut calls = Samples::default();
        for _ in 0..pods {
            self.end_one().await;
            let request = self.next();
            let began = Instant::now();
            let answer = self.client.allocate(request).await;
            calls.push(began.elapsed());
            self.run(answer.expect("lease").into_inner().lease);
        }
        (self, calls)
    }

    fn run(&mut self, lease: Option<Lease>) {
        let lease = lease.expect("an answer has a lease");
        self.held.take(&lease);
        self.running.push(lease);
    }

    /// Ends a pod, whichever.
    async fn end_one(&mut self) {
        let lease = self
            .running
            .swap_remove(fastrand::usize(..self.running.len()));
        self.held.give_back(&lease);
        let owner = lease.owner.unwrap_or_default();
        let release = ReleaseAttachmentRequest {
            network: owner.network,
            container_id: owner.container_id,
            ifname: owner.ifname,
        };
        let answer = self.client.release_attachment(release).await;
        answer.expect("release");
    }
}

fn pool_name(number: usize) -> String {
    format!("sim-{number}")
}
