//! The kubelet's PodResources API, v1 (gRPC on a unix socket), as far as devices go: the messages and
//! field numbers of `k8s.io/kubelet/pkg/apis/podresources/v1/api.proto`.

use std::io;
use std::path::Path;
use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::{Code, Status};

use super::Allocations;
use crate::rpc::{self, DialError};

/// For connecting and all calls together. An ADD waits for this; a kubelet answers in milliseconds.
const LIMIT: Duration = Duration::from_secs(2);

/// GetPodResourcesRequest.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetRequest {
    #[prost(string, tag = "1")]
    pub(super) pod_name: String,
    #[prost(string, tag = "2")]
    pub(super) pod_namespace: String,
}

/// GetPodResourcesResponse.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) pod_resources: Option<PodResources>,
}

/// ListPodResourcesRequest.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListRequest {}

/// ListPodResourcesResponse.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) pod_resources: Vec<PodResources>,
}

/// PodResources: one pod.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodResources {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) containers: Vec<ContainerResources>,
}

/// ContainerResources, without CPUs, memory and dynamic resources.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerResources {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) devices: Vec<ContainerDevices>,
}

/// ContainerDevices, without topology.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerDevices {
    #[prost(string, tag = "1")]
    pub(super) resource_name: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) device_ids: Vec<String>,
}

/// The kubelet did not say which devices a pod has. Reported whole in one line: it stands beside the failure
/// of the checkpoint file in [`super::DeviceError::Unknown`].
#[derive(Debug, thiserror::Error)]
pub enum PodResourcesError {
    /// No runtime to talk in.
    #[error("no I/O runtime: {cause}")]
    Runtime {
        /// What the kernel answered.
        cause: io::Error,
    },
    /// Nobody listens on the socket.
    #[error("cannot connect: {cause}")]
    Connect {
        /// Why not.
        cause: DialError,
    },
    /// It did not answer in time.
    #[error("no answer within {} s", LIMIT.as_secs())]
    Timeout,
    /// It answered with an error.
    #[error("{method} was answered with {:?}: {}", status.code(), beginning(status.message()))]
    Call {
        /// `Get` or `List`.
        method: &'static str,
        /// The answer.
        status: Box<Status>,
    },
}

/// As much of a foreign message as fits into ours.
fn beginning(message: &str) -> String {
    message.chars().take(80).collect()
}

/// What the kubelet says of a pod; none if it does not know the pod.
pub(super) fn devices(
    socket: &Path,
    namespace: &str,
    name: &str,
) -> Result<Option<Allocations>, PodResourcesError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|cause| PodResourcesError::Runtime { cause })?
        .block_on(async {
            tokio::time::timeout(LIMIT, ask(socket, namespace, name))
                .await
                .unwrap_or(Err(PodResourcesError::Timeout))
        })
}

async fn ask(
    socket: &Path,
    namespace: &str,
    name: &str,
) -> Result<Option<Allocations>, PodResourcesError> {
    let kubelet = rpc::unix_channel(socket)
        .await
        .map_err(|cause| PodResourcesError::Connect { cause })?;
    let request = GetRequest {
        pod_name: name.to_owned(),
        pod_namespace: namespace.to_owned(),
    };
    let path = PathAndQuery::from_static("/v1.PodResourcesLister/Get");
    let got: Result<GetResponse, Status> = rpc::unary(kubelet.clone(), path, request).await;
    match got {
        Ok(answer) => return Ok(answer.pod_resources.map(allocations)),
        // Get is young, can be switched off, and answers "not found" and "switched off" alike with
        // Unknown; List is always there. Only a connection that is lost ends it here.
        Err(status) if status.code() == Code::Unavailable => return Err(failed("Get", status)),
        Err(_) => {}
    }
    let path = PathAndQuery::from_static("/v1.PodResourcesLister/List");
    let listed: ListResponse = rpc::unary(kubelet, path, ListRequest {})
        .await
        .map_err(|status| failed("List", status))?;
    Ok(listed
        .pod_resources
        .into_iter()
        .find(|pod| pod.namespace == namespace && pod.name == name)
        .map(allocations))
}

fn failed(method: &'static str, status: Status) -> PodResourcesError {
    PodResourcesError::Call {
        method,
        status: Box::new(status),
    }
}

fn allocations(pod: PodResources) -> Allocations {
    pod.containers
        .into_iter()
        .flat_map(|container| container.devices)
        .map(|devices| (devices.resource_name, devices.device_ids))
        .collect()
}
