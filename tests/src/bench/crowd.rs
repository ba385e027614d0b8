//! Many callers at once.

use std::time::{Duration, Instant};

use proto::ipam::v1::ReleaseAttachmentRequest;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::ipam::request;

/// Calls of each caller in one turn.
const CALLS: usize = 16;

/// The calls per second of so many callers, each of which makes 16 one after the other. `call` makes one, of a
/// caller's number and its own.
///
/// # Panics
/// When a call does.
pub async fn rate<F>(callers: usize, call: impl Fn(usize, usize) -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let calls: Vec<F> = (0..CALLS).map(|number| call(caller, number)).collect();
        tasks.spawn(async move {
            for call in calls {
                call.await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no caller failed");
    }
    (callers * CALLS) as f64 / started.elapsed().as_secs_f64()
}

/// Pairs that so many callers allocate per second of pool `bench`, spread over servers, one connection to each; the leases are
/// given back outside of the time.
///
/// # Panics
/// When a server refuses.
pub async fn allocates(servers: &[LeaseServiceClient<Channel>], callers: usize) -> f64 {
    let client = |caller: usize| servers[caller % servers.len()].clone();
    let rate_of_leases = rate(callers, |caller, number| {
        let mut client = client(caller);
        async move {
            let lease = request("bench", &pod(caller, number));
            client.allocate(lease).await.expect("lease");
        }
    });
    let rate_of_leases = rate_of_leases.await;
    rate(callers, |caller, number| {
        let mut client = client(caller);
        async move {
            let release = ReleaseAttachmentRequest {
                network: "bench".to_owned(),
                container_id: pod(caller, number),
                ifname: "net1".to_owned(),
            };
            client.release_attachment(release).await.expect("release");
        }
    })
    .await;
    rate_of_leases
}

fn pod(caller: usize, number: usize) -> String {
    format!("crowd-{caller}-{number}")
}

/// The time of one call.
pub async fn time<T>(call: impl Future<Output = T>) -> Duration {
    let started = Instant::now();
    call.await;
    started.elapsed()
}
