//! Everything is restarted under load: ipam-server, the agent, or the agent by its successor. No call fails that is made
//! again as meta-ipam does, and no address is given twice.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use e2e::dial::unix_channel;
use e2e::ipam::{Replacing, request};
use e2e::{IpamServer, wait_until};
use nix::sys::signal::Signal;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::{BatchAllocateRequest, WatchRequest};
use serde_json::json;
use tonic::Code;

use super::fixture::{PATIENCE, Proxy, until};
use crate::ipam::meta_ipam::{MetaIpam, good};

/// Of either kind.
const WRITERS: usize = 4;
const ROUNDS: usize = 10;
/// Of one server taking over from another.
const HANDOVERS: usize = 50;

/// What the writers share.
#[derive(Default)]
struct Books {
    /// Who has an address.
    held: Mutex<HashMap<String, String>>,
    done: AtomicUsize,
    enough: AtomicBool,
}

impl Books {
    #[track_caller]
    fn take(&self, address: &str, by: &str) {
        let before = self.lock().insert(address.to_owned(), by.to_owned());
        assert_eq!(before, None, "{address} is given twice: {by}");
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.held.lock().expect("no writer panicked")
    }

    fn goes_on(&self) -> bool {
        self.done.fetch_add(1, Ordering::SeqCst);
        !self.enough.load(Ordering::SeqCst)
    }
}

/// Pods come, and every other one goes again: meta-ipam as plugins execute it.
fn plugins(plugin: &MetaIpam, books: &Books, name: &str) {
    let mut number = 0;
    while books.goes_on() {
        number += 1;
        let container = format!("{name}-{number}");
        let result = good(plugin.run("ADD", &container, json!({})));
        let ips = result["ips"].as_array().expect("addresses");
        let ips: Vec<_> = ips.iter().filter_map(|ip| ip["address"].as_str()).collect();
        assert_eq!(ips.len(), 2, "{result}");
        ips.iter().for_each(|ip| books.take(ip, &container));
        if number % 2 == 0 {
            for ip in ips {
                books.lock().remove(ip);
            }
            good(plugin.run("DEL", &container, json!({})));
        }
    }
}

/// Batches, made again with the same request as long as nobody answers.
async fn batches(proxy: &std::path::Path, books: &Books, name: &str) {
    let client = LeaseServiceClient::new(unix_channel(proxy));
    let mut number = 0;
    while books.goes_on() {
        number += 1;
        let batch = BatchAllocateRequest {
            requests: (0..3)
                .map(|part| request("blue", &format!("{name}-{number}-{part}")))
                .collect(),
            ..BatchAllocateRequest::default()
        };
        let answer = until("an answer to a batch", || {
            let (mut client, batch) = (client.clone(), batch.clone());
            async move {
                match client.batch_allocate(batch).await {
                    Ok(answer) => Some(answer.into_inner()),
                    Err(status) => {
                        let broke = std::error::Error::source(&status).is_some();
                        assert!(broke || status.code() == Code::Unavailable, "{status}");
                        None
                    }
                }
            }
        })
        .await;
        for given in answer.responses {
            let lease = given.lease.expect("a lease");
            let pod = lease.owner.expect("an owner").pod;
            books.take(&lease.ipv4, &pod);
            books.take(&lease.ipv6, &pod);
        }
    }
}

/// Lets everybody work while `disturb` does so, and compares what they have with what the server has.
async fn under_load(
    mut server: IpamServer,
    mut proxy: Proxy,
    rounds: usize,
    mut disturb: impl FnMut(usize, &mut IpamServer, &mut Proxy),
) {
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    let books = Arc::new(Books::default());
    let plugin = proxy.meta_ipam();
    let threads: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (plugin, books) = (plugin.clone(), Arc::clone(&books));
            thread::spawn(move || plugins(&plugin, &books, &format!("plugin-{number}")))
        })
        .collect();
    let tasks: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (socket, books) = (proxy.socket(), Arc::clone(&books));
            tokio::spawn(async move { batches(&socket, &books, &format!("batch-{number}")).await })
        })
        .collect();
    for round in 0..rounds {
        let before = books.done.load(Ordering::SeqCst);
        wait_until("there is work", PATIENCE, || {
            (books.done.load(Ordering::SeqCst) > before + 4 * WRITERS).then_some(())
        });
        disturb(round, &mut server, &mut proxy);
    }
    books.enough.store(true, Ordering::SeqCst);
    for thread in threads {
        thread.join().expect("no writer panicked");
    }
    for task in tasks {
        task.await.expect("no writer panicked");
    }
    // What could not be given back at once is delivered by the agent.
    wait_until("all releases are delivered", PATIENCE, || {
        (plugin.waiting() == 0).then_some(())
    });
    let leases = server.leases().await;
    let listed: BTreeSet<_> = leases
        .iter()
        .flat_map(|lease| [lease.ipv4.clone(), lease.ipv6.clone()])
        .collect();
    let held: BTreeSet<_> = books.lock().keys().cloned().collect();
    assert_eq!(listed, held);
    server.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ipam_server_is_killed_over_and_over_and_nobody_notices() {
    let server = IpamServer::start();
    let proxy = Proxy::start(&server);
    under_load(server, proxy, ROUNDS, |_, server, _| {
        server.kill9();
        server.restart();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_takes_over_from_another_over_and_over_and_nobody_notices() {
    let server = IpamServer::start();
    let proxy = Proxy::start(&server);
    under_load(server, proxy, HANDOVERS, |round, server, _| {
        server.replace(match round % 2 {
            0 => Replacing::Start,
            _ => Replacing::End,
        });
        // Not by the agent's connection only.
        let listed = server.ipamctl(&["pool", "list"]);
        assert!(listed.status.success(), "round {round}: {listed:?}");
        assert_eq!(server.page("/readyz").status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_is_killed_restarted_and_replaced_and_nobody_notices() {
    let server = IpamServer::start();
    let proxy = Proxy::start(&server);
    under_load(server, proxy, ROUNDS, |round, _, proxy| match round % 3 {
        0 => proxy.restart(Signal::SIGKILL),
        1 => proxy.restart(Signal::SIGTERM),
        _ => proxy.replace(),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ends_finishes_the_calls_that_were_begun_and_ends_streams() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let mut proxy = Proxy::start(&server);
    let mut client = proxy.lease_client();
    let watching = client.watch(WatchRequest::default()).await;
    let mut watch = watching.expect("watch").into_inner();
    watch.message().await.expect("a bookmark").expect("one");

    server.signal(Signal::SIGSTOP);
    let call = tokio::spawn({
        let mut client = client.clone();
        async move { client.allocate(request("blue", "pod")).await }
    });
    proxy.wait_for_log("LeaseService/Allocate", 1);
    proxy.signal(Signal::SIGTERM);
    proxy.wait_for_log("stopping", 1);
    let ended = watch.message().await.expect_err("the stream ends");
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(ended.message().contains("meta-cnid ends"), "{ended}");
    assert!(!proxy.socket().exists());
    server.signal(Signal::SIGCONT);
    let given = call.await.expect("no panic").expect("it was begun");
    assert!(given.into_inner().lease.is_some());
    // A second signal would end it at once.
    assert!(proxy.wait().success(), "{}", proxy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_left_for_one_that_answers() {
    let mut server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let proxy = Proxy::start(&server);
    let mut client = proxy.lease_client();
    client
        .allocate(request("blue", "a"))
        .await
        .expect("allocate");
    server.signal(Signal::SIGSTOP);
    // Nobody asks: keepalive alone finds it out.
    proxy.wait_for_log("the connection to ipam-server ended", 1);
    server.signal(Signal::SIGCONT);
    until("it answers again", || {
        let mut client = client.clone();
        async move { client.allocate(request("blue", "b")).await.ok() }
    })
    .await;
    assert!(server.stop().success());
}
