//! The cluster as the API server has it: live GETs, one PATCH of pods/status, Events. What an answer
//! means is in `object.rs`, why there is none in `api/failure.rs`, how often it is asked in
//! `api/retry.rs`. [`ApiCluster`] is for a process that lives for one call; the agent keeps a [`Connection`].

mod connection;
mod event;
mod failure;
mod listing;
mod requests;
mod retry;
mod review;
mod source;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use tokio::runtime::Runtime;

pub use self::connection::{Connection, new_client};
pub use self::retry::Patience;
pub use self::review::{Credentials, Listed, Right};
pub use self::source::{Source, SourceError};
use crate::cluster::object::{Labels, NETWORK_STATUS, check_names, check_uid};
use crate::cluster::selector::selects;
use crate::cluster::{Cluster, ClusterError, Event, Nad, NadName, Pod, PodRef, Policy};
use crate::host::host_name;
use crate::limits::GETS_AT_ONCE;

/// How long [`ApiCluster::pod`] waits for a pod that does not exist yet, if nothing else is said: the runtime
/// knows it, so it must appear.
pub const DEFAULT_POD_WAIT: Duration = Duration::from_secs(2);

/// How long a question is asked.
pub const PATIENCE: Patience = Patience {
    tries: u32::MAX,
    each: Duration::from_secs(5),
    total: Duration::from_secs(10),
};

/// For questions whose answer is welcome but not needed.
const IMPATIENCE: Patience = Patience {
    tries: 1,
    each: Duration::from_secs(1),
    total: Duration::from_secs(1),
};

/// A [`Cluster`] that asks the API server itself.
///
/// Making one reads and connects nothing; the first question does. Every question is asked for 10 s, 5 s at a
/// time; Events twice, 3 s in all.
pub struct ApiCluster {
    source: Source,
    patience: Patience,
    pod_wait: Duration,
    instance: Option<String>,
    opened: Mutex<Option<Arc<Opened>>>,
}

/// A connection, and the runtime that it lives on.
struct Opened {
    // Before the runtime: dropped in this order.
    connection: Connection,
    runtime: Runtime,
}

impl Opened {
    /// Waits for `future`, on the calling thread. Several threads may do so at once.
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

impl ApiCluster {
    /// The API server that a kubeconfig file names, with a token, a token file or a client certificate.
    pub fn from_kubeconfig(path: &Path) -> ApiCluster {
        ApiCluster::new(Source::Kubeconfig(path.to_owned()))
    }

    /// The API server of the pod that this process runs in: KUBERNETES_SERVICE_HOST,
    /// KUBERNETES_SERVICE_PORT and the service account's files.
    pub fn in_cluster() -> ApiCluster {
        ApiCluster::new(Source::InCluster)
    }

    fn new(source: Source) -> ApiCluster {
        ApiCluster {
            source,
            patience: PATIENCE,
            pod_wait: DEFAULT_POD_WAIT,
            instance: None,
            opened: Mutex::new(None),
        }
    }

    /// How long [`Cluster::pod`] waits for a pod that does not exist yet ([`DEFAULT_POD_WAIT`]); zero asks once.
    #[must_use]
    pub fn with_pod_wait(mut self, pod_wait: Duration) -> ApiCluster {
        self.pod_wait = pod_wait;
        self
    }

    /// Asks every question once, for one second, and waits for no pod: for a DEL that would like to know
    /// more but must not depend on it.
    #[must_use]
    pub fn impatient(mut self) -> ApiCluster {
        self.patience = IMPATIENCE;
        self.pod_wait = Duration::ZERO;
        self
    }

    /// The `reportingInstance` of Events (this machine's host name).
    #[must_use]
    pub fn with_instance(mut self, instance: String) -> ApiCluster {
        self.instance = Some(instance);
        self
    }

    /// The connection, made now if this is the first question or the last try failed.
    fn opened(&self) -> Result<Arc<Opened>, SourceError> {
        let mut slot = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = &*slot {
            return Ok(Arc::clone(opened));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| SourceError::Unreadable {
                what: "an async runtime".to_owned(),
                detail: error.to_string(),
            })?;
        let connection = {
            let _entered = runtime.enter();
            Connection::open(&self.source, self.patience.clone())?
        };
        let opened = Arc::new(Opened {
            connection,
            runtime,
        });
        *slot = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn instance(&self) -> String {
        let named = self.instance.clone();
        named
            .or_else(host_name)
            .unwrap_or_else(|| "unknown".to_owned())
    }
}

impl Cluster for ApiCluster {
    fn pod(&self, pod: &PodRef) -> Result<Pod, ClusterError> {
        check_names(&format!("pod {pod}"), [&pod.namespace, &pod.name])?;
        let opened = self.opened()?;
        let found = opened.block_on(opened.connection.pod(pod, self.pod_wait))?;
        check_uid(pod, &found)?;
        Ok(found)
    }

    fn networks(&self, names: &[NadName]) -> Vec<Result<Nad, ClusterError>> {
        let opened = match self.opened() {
            Ok(opened) => opened,
            Err(error) => return names.iter().map(|_| Err(error.clone().into())).collect(),
        };
        opened.block_on(
            stream::iter(names)
                .map(|name| opened.connection.network(name))
                .buffered(GETS_AT_ONCE)
                .collect(),
        )
    }

    fn policies(&self, namespaces: &[String]) -> Result<Vec<Vec<Policy>>, ClusterError> {
        let opened = self.opened()?;
        let connection = &opened.connection;
        opened.block_on(async {
            let all = connection.policies().await?;
            if all.is_empty() {
                return Ok(vec![Vec::new(); namespaces.len()]);
            }
            let labels = stream::iter(namespaces)
                .map(|namespace| connection.labels(namespace))
                .buffered(GETS_AT_ONCE)
                .collect::<Vec<_>>();
            let of = |labels: Labels| {
                let matching = all.iter().filter(|policy| selects(&policy.spec, &labels));
                matching.cloned().collect()
            };
            labels
                .await
                .into_iter()
                .map(|labels| labels.map(of))
                .collect()
        })
    }

    fn report(
        &self,
        pod: &Pod,
        network_status: Option<&str>,
        events: &[Event],
    ) -> Result<(), ClusterError> {
        let changed = network_status.filter(|status| {
            pod.annotations.get(NETWORK_STATUS).map(String::as_str) != Some(status)
        });
        if changed.is_none() && events.is_empty() {
            return Ok(());
        }
        check_names(
            &format!("pod {}/{}", pod.namespace, pod.name),
            [&pod.namespace, &pod.name],
        )?;
        let opened = self.opened()?;
        let connection = &opened.connection;
        let instance = self.instance();
        let reference = pod.reference();
        let posts = events
            .iter()
            .map(|event| connection.post(&reference, event, &instance));
        // No Event reports interfaces that are undone because network-status cannot be written.
        opened.block_on(async {
            if let Some(status) = changed {
                connection.write_status(pod, status).await?;
            }
            join_all(posts).await;
            Ok(())
        })
    }

    fn ready(&self, limit: Duration) -> Result<(), ClusterError> {
        let opened = self.opened()?;
        opened.block_on(opened.connection.ready(limit))
    }
}
