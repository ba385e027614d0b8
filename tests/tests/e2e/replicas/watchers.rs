//! A watcher of each server, which goes on where it was when its server does not answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::dial::unix_channel;
use e2e::ipam::pool;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::watch_response::Message;
use proto::ipam::v1::{CreatePoolRequest, Event, WatchRequest};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;

/// How long the last change may take to be seen.
const PATIENCE: Duration = Duration::from_secs(60);
/// A stream that is silent for so long is opened anew: bookmarks come each 10 s.
const SILENCE: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_millis(100);

/// The revision that makes the pool: what comes behind it is watched.
pub(crate) const FROM: u64 = 1;

pub(crate) struct Watchers {
    tasks: Vec<JoinHandle<Vec<Event>>>,
    /// The last revision, once it is known.
    last: watch::Sender<Option<u64>>,
}

impl Watchers {
    /// Makes the pool, and watches what comes after it.
    pub(crate) async fn start(sockets: &[PathBuf]) -> Watchers {
        let create = CreatePoolRequest {
            pool: Some(pool("blue", "10.0.0.0/16", "fd00::/64")),
            ..CreatePoolRequest::default()
        };
        let mut pools = PoolServiceClient::new(unix_channel(&sockets[0]));
        pools.create_pool(create).await.expect("make a pool");
        let (last, known) = watch::channel(None);
        let watch = |socket: &PathBuf| tokio::spawn(watch_all(socket.clone(), known.clone()));
        Watchers {
            tasks: sockets.iter().map(watch).collect(),
            last,
        }
    }

    /// What each one saw, up to the last revision.
    pub(crate) async fn stop(self, last: u64) -> Vec<Vec<Event>> {
        self.last.send_replace(Some(last));
        let mut seen = Vec::new();
        for task in self.tasks {
            let ended = tokio::time::timeout(PATIENCE, task).await;
            seen.push(ended.expect("the last change is seen").expect("a watcher"));
        }
        seen
    }
}

/// Every event behind the first one, until the last revision is known and seen.
async fn watch_all(socket: PathBuf, mut last: watch::Receiver<Option<u64>>) -> Vec<Event> {
    let mut seen: Vec<Event> = Vec::new();
    loop {
        let after = seen.last().map_or(FROM, |event| event.revision);
        if last.borrow().is_some_and(|last| after >= last) {
            return seen;
        }
        tokio::select! {
            // The server does not answer.
            _failed = watch_from(&socket, after, &mut seen) => tokio::time::sleep(PAUSE).await,
            _known = last.changed() => {}
        }
    }
}

async fn watch_from(socket: &Path, after: u64, seen: &mut Vec<Event>) -> Result<(), Status> {
    let mut client = LeaseServiceClient::new(unix_channel(socket));
    let request = WatchRequest {
        after_revision: after,
        ..WatchRequest::default()
    };
    let mut stream = client.watch(request).await?.into_inner();
    while let Ok(next) = tokio::time::timeout(SILENCE, stream.message()).await {
        match next? {
            Some(response) => {
                if let Some(Message::Event(event)) = response.message {
                    seen.push(event);
                }
            }
            None => break,
        }
    }
    Ok(())
}
