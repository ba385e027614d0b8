//! Learning soon that another server has appended. What is read here is a hint: the ledger asks for the log's end itself, and
//! it does so each second without a hint, so a watch that is silent or late costs a delay and nothing else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::etcd::etcdserverpb::watch_request::RequestUnion;
use proto::etcd::etcdserverpb::{WatchCreateRequest, WatchRequest};
use tokio::time::sleep;

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
                Ok(mut stream) => {
                    while let Ok(Some(message)) = stream.message().await {
                        if message.canceled {
                            tracing::debug!(why = message.cancel_reason, "a watch has ended");
                            break;
                        }
                        let last = message.events.into_iter().next_back();
                        if let Some(kv) = last.and_then(|event| event.kv) {
                            self.saw_head(&kv.value).await;
                        }
                    }
                }
                Err(failure) => tracing::debug!(%failure, "etcd is not watched"),
            }
            sleep(PAUSE.mul_f64(1.0 + fastrand::f64())).await;
        }
    }

    /// Wakes the ledger if the head is of another server.
    async fn saw_head(&self, value: &Bytes) {
        let is_ahead = |head: &Head| head.position > self.mirror().position;
        let Ok(head) = head::decode::<Head>(value) else {
            return;
        };
        if is_ahead(&head) {
            sleep(DELAY).await;
        }
        if is_ahead(&head)
            && let Some(wake) = self.wake.get()
        {
            (wake.0)();
        }
    }
}
