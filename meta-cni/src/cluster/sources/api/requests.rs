//! What is asked of the API server over a connection: pods, networks, network-status, Events.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::connection::{Call, Connection};
use super::event;
use super::failure::{About, Failure, Question};
use super::retry::Patience;
use crate::cluster::object::{
    ClusterObject, Labels, NETWORK_STATUS, NadObject, PodObject, check_names, with_name,
};
use crate::cluster::{ClusterError, Event, Nad, NadName, Pod, PodRef, Policy};
use crate::limits;
use crate::random;

/// The pause between two requests for a pod that does not exist yet; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two requests.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// Events are a report, not a promise: an ADD does not wait long for them.
const EVENT_PATIENCE: Patience = Patience {
    tries: 2,
    each: Duration::from_secs(2),
    total: Duration::from_secs(3),
};

/// The bytes that all annotations of an object may have, keys and values (Kubernetes,
/// apimachinery/pkg/api/validation, TotalAnnotationSizeLimitB).
pub(super) const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// network-status does not fit into the pod's annotations.
#[derive(Debug, thiserror::Error)]
#[error(
    "the pod's annotations would have {size} bytes of the {ANNOTATIONS_LIMIT} that Kubernetes allows: \
     attach fewer networks, or shorten its other annotations"
)]
struct TooLarge {
    size: usize,
}

impl Connection {
    /// GETs the pod until it is there or `wait` is over.
    pub async fn pod(&self, pod: &PodRef, wait: Duration) -> Result<Pod, ClusterError> {
        let object = format!("pod {pod}");
        check_names(&object, [&pod.namespace, &pod.name])?;
        let path = format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name);
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.get::<PodObject>(path.clone(), object.clone()).await {
                Err(ClusterError::NotFound { .. }) if started.elapsed() + pause <= wait => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                result => return result.map(Pod::from),
            }
        }
    }

    /// GETs a network.
    pub async fn network(&self, name: &NadName) -> Result<Nad, ClusterError> {
        let object = format!("network-attachment-definition {name}");
        check_names(&object, [&name.namespace, &name.name])?;
        let path = format!(
            "/apis/k8s.cni.cncf.io/v1/namespaces/{}/network-attachment-definitions/{}",
            name.namespace, name.name
        );
        let nad = self.get::<NadObject>(path, object).await.map(Nad::from)?;
        limits::check_text(&nad.config).map_err(|error| ClusterError::too_large(name, error))?;
        Ok(nad)
    }

    /// Every AttachmentPolicy, in the order of their names; none if their kind is not known.
    pub(crate) async fn policies(&self) -> Result<Vec<Policy>, ClusterError> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<ClusterObject>,
        }
        let question = Question {
            verb: "list",
            object: "attachmentpolicies".to_owned(),
        };
        let call = Call::get("/apis/meta-cni.io/v1alpha1/attachmentpolicies".to_owned());
        let body = match self.ask(&call).await {
            Ok(body) => body,
            Err(Failure::Answer {
                status: StatusCode::NOT_FOUND,
                ..
            }) => return Ok(Vec::new()),
            Err(failure) => return Err(failure.into_error(&question, self.server())),
        };
        let list: List = serde_json::from_slice(&body).map_err(|error| ClusterError::Invalid {
            what: format!("what {} answered for {}", self.server(), question.object),
            remedy: None,
            source: Box::new(error),
        })?;
        let mut all: Vec<_> = list
            .items
            .into_iter()
            .map(ClusterObject::into_policy)
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// The labels of a namespace. One that is gone has its name only.
    pub(crate) async fn labels(&self, namespace: &str) -> Result<Labels, ClusterError> {
        let object = format!("namespace {namespace}");
        check_names(&object, [namespace, namespace])?;
        let path = format!("/api/v1/namespaces/{namespace}");
        match self.get::<ClusterObject>(path, object).await {
            Ok(found) => Ok(found.into_namespace().1),
            Err(ClusterError::NotFound { .. }) => Ok(with_name(Labels::new(), namespace)),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: String,
        object: String,
    ) -> Result<T, ClusterError> {
        let question = Question {
            verb: "get",
            object,
        };
        let body = self
            .ask(&Call::get(path))
            .await
            .map_err(|failure| failure.into_error(&question, self.server()))?;
        serde_json::from_slice(&body).map_err(|error| ClusterError::Invalid {
            what: format!("what {} answered for {}", self.server(), question.object),
            remedy: None,
            source: Box::new(error),
        })
    }

    /// Writes network-status to the pod, with the pod's UID as precondition.
    pub async fn write_status(&self, pod: &Pod, status: &str) -> Result<(), ClusterError> {
        let question = Question {
            verb: "patch network-status of",
            object: format!("pod {}/{}", pod.namespace, pod.name),
        };
        check_names(&question.object, [&pod.namespace, &pod.name])?;
        let size = annotations_size(pod, status);
        if size > ANNOTATIONS_LIMIT {
            return Err(ClusterError::Invalid {
                what: format!("network-status of {}", question.object),
                remedy: None,
                source: Box::new(TooLarge { size }),
            });
        }
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/status",
            pod.namespace, pod.name
        );
        // With the UID in it, the API server refuses the patch for a pod that was made again.
        let patch = json!({"metadata": {"uid": pod.uid, "annotations": {NETWORK_STATUS: status}}});
        match self.ask(&Call::merge_patch(path, &patch)).await {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.into_error(&question, self.server())),
        }
    }

    /// Posts an Event about the pod; an Event that cannot be posted is logged.
    pub async fn post(&self, pod: &PodRef, event: &Event, instance: &str) {
        let now = jiff::Timestamp::now();
        let number = event::number(pod, event, now, random::number());
        let object = event::object(pod, event, instance, now, number);
        let path = format!("/api/v1/namespaces/{}/events", pod.namespace);
        match self
            .ask_within(&Call::create(path, &object), &EVENT_PATIENCE)
            .await
        {
            // An earlier try arrived, only its answer did not; or it is the same failure again.
            Ok(_)
            | Err(Failure::Answer {
                about: About::Exists,
                ..
            }) => {}
            Err(error) => tracing::warn!(
                %pod,
                reason = event.reason.as_str(),
                note = %event.note,
                %error,
                "an Event was not posted"
            ),
        }
    }

    /// Asks once, within `limit`, whether the API server is there: /readyz, or /version where that one is not open
    /// to us.
    pub(crate) async fn ready(&self, limit: Duration) -> Result<(), ClusterError> {
        let question = Question {
            verb: "get",
            object: "readiness".to_owned(),
        };
        let asked = async {
            match self.once(&Call::get("/readyz".to_owned())).await {
                Err(Failure::Answer {
                    status: StatusCode::FORBIDDEN,
                    ..
                }) => self.once(&Call::get("/version".to_owned())).await,
                result => result,
            }
        };
        tokio::time::timeout(limit, asked)
            .await
            .unwrap_or(Err(Failure::TimedOut { limit }))
            .map(|_| ())
            .map_err(|failure| failure.into_error(&question, self.server()))
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
