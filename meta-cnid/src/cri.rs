//! Which sandboxes the container runtime has: ListPodSandbox of the Container Runtime Interface, with the messages and
//! field numbers of `k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`, as far as they are needed.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use http::uri::PathAndQuery;
use meta_cni::rpc::{self, DialError};
use tonic::Status;

/// For connecting and the call together.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, PartialEq, prost::Message)]
struct ListPodSandboxRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<PodSandbox>,
}

/// One sandbox, whatever its state.
#[derive(Clone, PartialEq, prost::Message)]
struct PodSandbox {
    #[prost(string, tag = "1")]
    id: String,
}

/// The runtime did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// Nobody listens there.
    #[error("connecting to the runtime (--cri-socket)")]
    Connect(#[from] DialError),
    /// It answered with an error.
    #[error("listing the runtime's sandboxes: {:?}: {}", .0.code(), .0.message())]
    Call(Box<Status>),
    /// It did not answer in time.
    #[error("the runtime did not list its sandboxes within {} s", LIMIT.as_secs())]
    Silent,
}

/// The IDs of all sandboxes, those that do not run included.
///
/// # Errors
/// [`CriError`].
pub(super) async fn sandboxes(socket: &Path) -> Result<BTreeSet<String>, CriError> {
    let asked = async {
        let channel = rpc::unix_channel(socket).await?;
        let path = PathAndQuery::from_static("/runtime.v1.RuntimeService/ListPodSandbox");
        let listed: ListPodSandboxResponse = rpc::unary(channel, path, ListPodSandboxRequest {})
            .await
            .map_err(|status| CriError::Call(Box::new(status)))?;
        Ok(listed.items.into_iter().map(|sandbox| sandbox.id).collect())
    };
    tokio::time::timeout(LIMIT, asked)
        .await
        .unwrap_or(Err(CriError::Silent))
}
