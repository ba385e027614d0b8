//! The cluster as the API server tells it: live GETs, one PATCH of pods/status, Events. What an answer
//! means is in `object.rs`, why there is none in `api/failure.rs`, how often it is asked in
//! `api/retry.rs`.

mod connection;
mod event;
mod failure;
mod resolver;
mod retry;
mod review;
mod source;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::json;

use self::connection::{Call, Connection};
use self::failure::{About, Failure, Question};
use self::retry::{Patience, random};
pub use self::review::{Credentials, Listed, Right};
use self::source::{Source, SourceError};
use super::object::{NETWORK_STATUS, NadObject, PodObject, check_names, check_uid};
use super::{Cluster, ClusterError, Event, Nad, NadName, Pod, PodRef};

/// How long [`ApiCluster::pod`] looks for a pod that is not there, if nothing else is said: the runtime
/// knows it, so it must appear.
pub const DEFAULT_POD_WAIT: Duration = Duration::from_secs(2);

/// The pause between two looks for a pod that is not there; it doubles up to [`LONGEST_LOOK_PAUSE`].
const FIRST_LOOK_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two looks.
const LONGEST_LOOK_PAUSE: Duration = Duration::from_millis(400);

/// NADs of one pod that are asked for at the same time; each has a connection of its own.
const NADS_AT_ONCE: usize = 16;

/// How long a question is asked.
const PATIENCE: Patience = Patience {
    tries: 8,
    each: Duration::from_secs(5),
    total: Duration::from_secs(10),
};

/// For questions whose answer is welcome but not needed.
const IMPATIENCE: Patience = Patience {
    tries: 1,
    each: Duration::from_secs(1),
    total: Duration::from_secs(1),
};

/// Events are told, not promised: an ADD does not wait long for them.
const EVENT_PATIENCE: Patience = Patience {
    tries: 2,
    each: Duration::from_secs(2),
    total: Duration::from_secs(3),
};

/// The bytes that all annotations of an object may have, keys and values (Kubernetes,
/// apimachinery/pkg/api/validation, TotalAnnotationSizeLimitB).
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// network-status does not fit into the pod's annotations.
#[derive(Debug, thiserror::Error)]
#[error(
    "the pod's annotations would have {size} bytes of the {ANNOTATIONS_LIMIT} that Kubernetes allows: \
     attach fewer networks, or shorten its other annotations"
)]
struct TooLarge {
    size: usize,
}

/// A [`Cluster`] that asks the API server itself.
///
/// Making one reads and connects nothing; the first question does. Every question is asked at most eight
/// times, 5 s each, 10 s in all; Events twice, 3 s in all.
pub struct ApiCluster {
    source: Source,
    patience: Patience,
    pod_wait: Duration,
    instance: Option<String>,
    connection: Mutex<Option<Arc<Connection>>>,
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
            connection: Mutex::new(None),
        }
    }

    /// How long [`Cluster::pod`] looks for a pod that is not there ([`DEFAULT_POD_WAIT`]); zero looks once.
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
    fn connection(&self) -> Result<Arc<Connection>, SourceError> {
        let mut slot = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = &*slot {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(Connection::open(&self.source, self.patience.clone())?);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }

    fn instance(&self) -> String {
        self.instance.clone().unwrap_or_else(host_name)
    }
}

impl Cluster for ApiCluster {
    fn pod(&self, pod: &PodRef) -> Result<Pod, ClusterError> {
        check_names(&format!("pod {pod}"), [&pod.namespace, &pod.name])?;
        let connection = self.connection()?;
        let found = connection.block_on(find_pod(&connection, pod, self.pod_wait))?;
        check_uid(pod, &found)?;
        Ok(found)
    }

    fn networks(&self, names: &[NadName]) -> Vec<Result<Nad, ClusterError>> {
        let connection = match self.connection() {
            Ok(connection) => connection,
            Err(error) => return names.iter().map(|_| Err(error.clone().into())).collect(),
        };
        connection.block_on(
            stream::iter(names)
                .map(|name| nad(&connection, name))
                .buffered(NADS_AT_ONCE)
                .collect(),
        )
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
        let connection = self.connection()?;
        let instance = self.instance();
        let written = async {
            match changed {
                Some(status) => write_status(&connection, pod, status).await,
                None => Ok(()),
            }
        };
        let posts = events
            .iter()
            .map(|event| post_event(&connection, pod, event, &instance));
        // Nobody is told of interfaces that are undone because network-status cannot be written.
        connection.block_on(async {
            written.await?;
            join_all(posts).await;
            Ok(())
        })
    }

    fn ready(&self, limit: Duration) -> Result<(), ClusterError> {
        let connection = self.connection()?;
        let question = Question {
            verb: "get",
            object: "readiness".to_owned(),
        };
        let asked = async { tokio::time::timeout(limit, ask_ready(&connection)).await };
        connection
            .block_on(asked)
            .unwrap_or(Err(Failure::TimedOut { limit }))
            .map_err(|failure| failure.into_error(&question, connection.server()))
    }
}

/// GETs the pod until it is there or `wait` is over.
async fn find_pod(
    connection: &Connection,
    pod: &PodRef,
    wait: Duration,
) -> Result<Pod, ClusterError> {
    let path = format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name);
    let started = Instant::now();
    let mut pause = FIRST_LOOK_PAUSE;
    loop {
        match get::<PodObject>(connection, path.clone(), format!("pod {pod}")).await {
            Err(ClusterError::NotFound { .. }) if started.elapsed() + pause <= wait => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_LOOK_PAUSE);
            }
            result => return result.map(Pod::from),
        }
    }
}

async fn nad(connection: &Connection, name: &NadName) -> Result<Nad, ClusterError> {
    let object = format!("network-attachment-definition {name}");
    check_names(&object, [&name.namespace, &name.name])?;
    let path = format!(
        "/apis/k8s.cni.cncf.io/v1/namespaces/{}/network-attachment-definitions/{}",
        name.namespace, name.name
    );
    get::<NadObject>(connection, path, object)
        .await
        .map(Nad::from)
}

async fn get<T: DeserializeOwned>(
    connection: &Connection,
    path: String,
    object: String,
) -> Result<T, ClusterError> {
    let question = Question {
        verb: "get",
        object,
    };
    let body = connection
        .ask(&Call::get(path))
        .await
        .map_err(|failure| failure.into_error(&question, connection.server()))?;
    serde_json::from_slice(&body).map_err(|error| ClusterError::Invalid {
        what: format!(
            "what {} answered for {}",
            connection.server(),
            question.object
        ),
        source: Box::new(error),
    })
}

async fn write_status(
    connection: &Connection,
    pod: &Pod,
    status: &str,
) -> Result<(), ClusterError> {
    let question = Question {
        verb: "patch network-status of",
        object: format!("pod {}/{}", pod.namespace, pod.name),
    };
    let size = annotations_size(pod, status);
    if size > ANNOTATIONS_LIMIT {
        return Err(ClusterError::Invalid {
            what: format!("network-status of {}", question.object),
            source: Box::new(TooLarge { size }),
        });
    }
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/status",
        pod.namespace, pod.name
    );
    // With the UID in it, the API server refuses the patch for a pod that was made again.
    let patch = json!({"metadata": {"uid": pod.uid, "annotations": {NETWORK_STATUS: status}}});
    match connection.ask(&Call::merge_patch(path, &patch)).await {
        Ok(_) => Ok(()),
        Err(failure) => Err(failure.into_error(&question, connection.server())),
    }
}

/// The bytes of all annotations once network-status is `status`.
fn annotations_size(pod: &Pod, status: &str) -> usize {
    let others: usize = pod
        .annotations
        .iter()
        .filter(|(key, _)| *key != NETWORK_STATUS)
        .map(|(key, value)| key.len() + value.len())
        .sum();
    others + NETWORK_STATUS.len() + status.len()
}

async fn post_event(connection: &Connection, pod: &Pod, event: &Event, instance: &str) {
    let object = event::object(pod, event, instance, jiff::Timestamp::now(), random());
    let path = format!("/api/v1/namespaces/{}/events", pod.namespace);
    match connection
        .ask_within(&Call::create(path, &object), &EVENT_PATIENCE)
        .await
    {
        // An earlier try arrived, only its answer did not.
        Ok(_)
        | Err(Failure::Answer {
            about: About::Exists,
            ..
        }) => {}
        Err(error) => tracing::warn!(
            pod = %pod.reference(),
            reason = event.reason.as_str(),
            message = event.message,
            %error,
            "an Event was not posted"
        ),
    }
}

/// Asks /readyz, or /version where that one is not open to us.
async fn ask_ready(connection: &Connection) -> Result<(), Failure> {
    match connection.once(&Call::get("/readyz".to_owned())).await {
        Err(Failure::Answer {
            status: StatusCode::FORBIDDEN,
            ..
        }) => connection.once(&Call::get("/version".to_owned())).await,
        result => result,
    }
    .map(|_| ())
}

/// This machine's name, as uname(2) has it; the kubelet takes it as the node's name by default.
fn host_name() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(name) => name.trim().to_owned(),
        Err(_) => "unknown".to_owned(),
    }
}
