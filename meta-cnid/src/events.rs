//! Events, posted behind the answers: no ADD waits for them.

use std::sync::Arc;

use meta_cni::cluster::{Event, PodRef};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::api::Api;
use super::metrics::Metrics;

/// Events that may wait; more are dropped and counted.
const WAITING: usize = 4096;
/// Events that are posted at once.
const AT_ONCE: usize = 4;

/// Where Events are left. Clones lead to the same queue.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<(PodRef, Event)>,
    metrics: Metrics,
}

/// What was left there.
pub(super) struct Posted(mpsc::Receiver<(PodRef, Event)>);

impl Events {
    /// A queue, and its other end for [`run`].
    pub(super) fn new(metrics: Metrics) -> (Events, Posted) {
        let (queue, posted) = mpsc::channel(WAITING);
        (Events { queue, metrics }, Posted(posted))
    }

    /// Leaves an Event to be posted.
    pub(super) fn post(&self, pod: PodRef, event: Event) {
        if let Err(error) = self.queue.try_send((pod, event)) {
            let (pod, event) = error.into_inner();
            self.metrics.event_dropped();
            tracing::warn!(%pod, note = %event.note, "an Event was dropped: too many wait");
        }
    }
}

/// Posts what is left until `closing` ends, even by its sender's end, and nothing waits.
pub(super) async fn run(
    mut posted: Posted,
    api: Api,
    instance: Arc<str>,
    metrics: Metrics,
    mut closing: oneshot::Receiver<()>,
) {
    let mut posts = JoinSet::new();
    let mut is_closed = false;
    loop {
        let next = tokio::select! {
            next = posted.0.recv() => next,
            _ = &mut closing, if !is_closed => {
                is_closed = true;
                posted.0.close();
                continue;
            }
        };
        let Some((pod, event)) = next else { break };
        metrics.events_waiting(posted.0.len());
        if posts.len() >= AT_ONCE {
            settle(posts.join_next().await);
        }
        let (api, instance) = (api.clone(), Arc::clone(&instance));
        posts.spawn(async move { api.connection().post(&pod, &event, &instance).await });
    }
    while !posts.is_empty() {
        settle(posts.join_next().await);
    }
}

fn settle(ended: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = ended {
        tracing::error!(%error, "posting an Event ended by a fault");
    }
}
