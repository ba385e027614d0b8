//! Learning soon that another server has appended. What is read here is a hint: the ledger asks for the log's end itself, and
//! it does so each second without a hint, so a watch that is silent or late costs a delay and nothing else.

use std::sync::Arc;
use std::time::Duration;

use proto::etcd::etcdserverpb::watch_request::RequestUnion;
use proto::etcd::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Streaming;

use super::Shared;
use super::head::{self, Head};

/// The pause before a watch is opened again.
const PAUSE: Duration = Duration::from_millis(500);
/// An append of this server is seen here before its answer is: the mirror is not at it yet.
const DELAY: Duration = Duration::from_millis(2);

impl Shared {
    /// Watches until the store is closed.
    pub(super) async fn keep_watching(self: Arc<Shared>) {
        loop {
            let create = WatchCreateRequest {
                key: self.keys.head(),
                // A message of many events has any size otherwise; one of the head's has few bytes.
                fragment: true,
                ..WatchCreateRequest::default()
            };
            let request = WatchRequest {
                request_union: Some(RequestUnion::CreateRequest(create)),
            };
            match self.client.watch(request).await {
                Ok(stream) => self.follow_heads(stream).await,
                Err(failure) => tracing::debug!(%failure, "etcd is not watched"),
            }
            sleep(PAUSE.mul_f64(1.0 + fastrand::f64())).await;
        }
    }

    /// Ends waiting for a turn, and wakes the ledger a moment later, whenever another server has appended; until the watch ends.
    async fn follow_heads(&self, mut stream: Streaming<WatchResponse>) {
        let is_missed = |position: u64| position > self.mirror().position;
        let mut newest = 0;
        let mut wake_at = None;
        loop {
            let delay = async {
                match wake_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = stream.message() => {
                    let Ok(Some(message)) = message else {
                        return;
                    };
                    if message.canceled {
                        tracing::debug!(why = message.cancel_reason, "a watch has ended");
                        return;
                    }
                    if let Some(position) = position_of(message) && is_missed(position) {
                        newest = position;
                        self.others_appended.notify_waiters();
                        wake_at.get_or_insert_with(|| Instant::now() + DELAY);
                    }
                }
                () = delay => {
                    wake_at = None;
                    if let (true, Some(wake)) = (is_missed(newest), self.wake.get()) {
                        (wake.0)();
                    }
                }
            }
        }
    }
}

/// Where the log ends by the newest head of a message.
fn position_of(message: WatchResponse) -> Option<u64> {
    let last = message.events.into_iter().next_back()?;
    let head: Head = head::decode(&last.kv?.value).ok()?;
    Some(head.position)
}
