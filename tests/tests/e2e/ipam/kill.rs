//! The server is killed under load, over and over, and started again on what is on the disk.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::IpamServer;
use e2e::ipam::request;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::{BatchAllocateRequest, Lease, ReleaseRequest};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::transport::Channel;
use tonic::{Request, Status};

const ROUNDS: usize = 200;
const WRITERS: usize = 8;
/// Leases of one batch.
const BATCH: usize = 3;
/// Of one call.
const DEADLINE: Duration = Duration::from_secs(20);

/// What one writer knows.
#[derive(Default)]
pub(crate) struct Book {
    name: String,
    calls: usize,
    /// Acknowledged and not released, by id.
    pub(crate) held: BTreeMap<String, Lease>,
    /// Ids of acknowledged releases.
    released: Vec<String>,
    /// The pods of a call that was not answered: all of them have a lease, or none.
    asked: Vec<String>,
    /// The lease of a release that was not answered.
    given_up: Option<String>,
}

impl Book {
    /// Those of so many writers.
    pub(crate) fn of_writers(count: usize) -> Vec<Book> {
        let book = |number| Book {
            name: format!("writer-{number}"),
            ..Book::default()
        };
        (0..count).map(book).collect()
    }

    /// One call after the other, until one fails.
    async fn write(&mut self, client: &mut LeaseServiceClient<Channel>) -> Result<(), Status> {
        self.calls += 1;
        match (self.calls % 6, self.held.keys().next().cloned()) {
            (0, _) => self.allocate(client, 1).await,
            (1, _) | (_, None) => self.allocate(client, BATCH).await,
            (_, Some(id)) => {
                let request = ReleaseRequest {
                    id: id.clone(),
                    ..ReleaseRequest::default()
                };
                self.given_up = Some(id.clone());
                client.release(in_time(request)).await?;
                self.given_up = None;
                self.held.remove(&id);
                self.released.push(id);
                Ok(())
            }
        }
    }

    async fn allocate(
        &mut self,
        client: &mut LeaseServiceClient<Channel>,
        count: usize,
    ) -> Result<(), Status> {
        let pod = |number| format!("{}-{}-{number}", self.name, self.calls);
        self.asked = (0..count).map(pod).collect();
        let mut requests: Vec<_> = self.asked.iter().map(|pod| request("blue", pod)).collect();
        let answers = if count == 1 {
            vec![
                client
                    .allocate(in_time(requests.remove(0)))
                    .await?
                    .into_inner(),
            ]
        } else {
            let batch = BatchAllocateRequest {
                requests,
                ..BatchAllocateRequest::default()
            };
            client
                .batch_allocate(in_time(batch))
                .await?
                .into_inner()
                .responses
        };
        assert_eq!(answers.len(), count);
        self.asked.clear();
        for answer in answers {
            assert!(!answer.existing, "nobody else has this attachment");
            let lease = answer.lease.expect("a lease");
            self.held.insert(lease.id.clone(), lease);
        }
        Ok(())
    }

    /// Compares with what the server has after its restart, and takes over what was in doubt.
    pub(crate) fn settle(&mut self, listed: &mut BTreeMap<String, Lease>) {
        for id in &self.released {
            assert!(!listed.contains_key(id), "released, and here again: {id}");
        }
        if let Some(id) = self.given_up.take()
            && !listed.contains_key(&id)
        {
            self.held.remove(&id);
            self.released.push(id);
        }
        for (id, lease) in &self.held {
            let found = listed.remove(id);
            assert_eq!(
                found.as_ref(),
                Some(lease),
                "acknowledged, and not as it was"
            );
        }
        let asked: BTreeSet<String> = self.asked.drain(..).collect();
        let is_asked = |lease: &Lease| {
            lease
                .owner
                .as_ref()
                .is_some_and(|owner| asked.contains(&owner.pod))
        };
        let given: Vec<String> = listed
            .iter()
            .filter(|(_, lease)| is_asked(lease))
            .map(|(id, _)| id.clone())
            .collect();
        assert!(
            given.is_empty() || given.len() == asked.len(),
            "half a batch: {given:?}"
        );
        for id in given {
            let lease = listed.remove(&id).expect("it was found");
            self.held.insert(id, lease);
        }
    }
}

/// A request with a deadline. Without one, hyper's client may wait forever for an answer over a connection that was
/// killed: about once in ten thousand kills on a busy machine.
fn in_time<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_kills_under_load_lose_nothing_acknowledged_and_give_no_address_twice() {
    let mut server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    let mut books = Book::of_writers(WRITERS);
    for round in 0..ROUNDS {
        books = work_until(&mut server, books, 10 + round % 40, IpamServer::kill9).await;
        server.restart();
        let leases = server.leases().await;
        assert_unique(&leases);
        let mut listed = leases
            .into_iter()
            .map(|lease| (lease.id.clone(), lease))
            .collect();
        books.iter_mut().for_each(|book| book.settle(&mut listed));
        assert!(
            listed.is_empty(),
            "round {round}: nobody asked for {listed:#?}"
        );
        server.assert_consistent().await;
    }
    let acknowledged: usize = books
        .iter()
        .map(|book| book.released.len() + book.held.len())
        .sum();
    assert!(acknowledged > ROUNDS, "there was work: {acknowledged}");
}

/// Lets all writers work until there were so many acknowledgements, and ends the server.
pub(crate) async fn work_until(
    server: &mut IpamServer,
    books: Vec<Book>,
    acknowledgements: usize,
    end: impl FnOnce(&mut IpamServer),
) -> Vec<Book> {
    let killed = Arc::new(AtomicBool::new(false));
    let (acknowledge, mut acknowledged) = unbounded_channel();
    let writers: Vec<_> = books
        .into_iter()
        .map(|book| {
            let client = server.lease_client();
            tokio::spawn(write(
                book,
                client,
                acknowledge.clone(),
                Arc::clone(&killed),
            ))
        })
        .collect();
    drop(acknowledge);
    for _ in 0..acknowledgements {
        if acknowledged.recv().await.is_none() {
            break;
        }
    }
    killed.store(true, Ordering::SeqCst);
    end(server);
    let mut books = Vec::new();
    for writer in writers {
        books.push(writer.await.expect("the writer does not panic"));
    }
    books
}

async fn write(
    mut book: Book,
    mut client: LeaseServiceClient<Channel>,
    acknowledge: UnboundedSender<()>,
    killed: Arc<AtomicBool>,
) -> Book {
    loop {
        if let Err(status) = book.write(&mut client).await {
            assert!(killed.load(Ordering::SeqCst), "refused: {status}");
            return book;
        }
        let _nobody_counts_any_more = acknowledge.send(());
    }
}

fn assert_unique(leases: &[Lease]) {
    let mut seen = HashSet::new();
    for lease in leases {
        assert!(seen.insert(&lease.ipv4), "twice: {}", lease.ipv4);
        assert!(seen.insert(&lease.ipv6), "twice: {}", lease.ipv6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_stopped_in_order_starts_with_all_that_it_had() {
    let mut server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    let mut book = Book::default();
    let mut client = server.lease_client();
    for _ in 0..100 {
        book.write(&mut client).await.expect("it serves");
    }
    let (leases, pool) = (server.leases().await, server.pool("blue").await);
    assert_eq!(leases.len(), book.held.len());
    let status = server.stop();
    assert!(status.success(), "{status}: {}", server.log());
    server.restart();
    assert_eq!(server.leases().await, leases);
    assert_eq!(server.pool("blue").await, pool);
    server.assert_consistent().await;
    book.write(&mut client).await.expect("it serves again");
}
