//! What doctor asks of the API server: who we say we are, what we may do, the pods
//! of a node, all networks. Nothing is changed by it.

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use kube::config::AuthInfo;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::json;

use super::ApiCluster;
use super::connection::{Call, Connection};
use super::failure::{Failure, Question};
use crate::cluster::object::{NadObject, PodObject};
use crate::cluster::{ClusterError, Nad, Pod};

/// The most objects of a list that are read.
const LIST_LIMIT: usize = 1000;

/// Where the API server is, and what we show to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its URL.
    pub server: String,
    /// The bearer token.
    pub token: Option<String>,
    /// The client certificate, PEM.
    pub certificate: Option<Vec<u8>>,
}

/// Something that one may be allowed to do to all objects of a kind, in every namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// `get`, `patch`, `create`.
    pub verb: &'static str,
    /// The API group; empty: core.
    pub group: &'static str,
    /// The plural name.
    pub resource: &'static str,
    /// For example `status`; empty: the object itself.
    pub subresource: &'static str,
}

/// Objects of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// At most a thousand of them.
    pub items: Vec<T>,
    /// Whether there are more.
    pub has_more: bool,
}

/// A list as Kubernetes writes it.
#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
    #[serde(default)]
    metadata: ListMetadata,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(default, rename = "continue")]
    next: String,
}

/// The answer to a SelfSubjectAccessReview.
#[derive(Deserialize)]
struct Review {
    status: ReviewStatus,
}

#[derive(Deserialize)]
struct ReviewStatus {
    allowed: bool,
}

impl ApiCluster {
    /// What the kubeconfig, or the pod's own environment, holds. Nothing is sent.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`] if a file cannot be read, [`ClusterError::Invalid`] if one is wrong.
    pub fn credentials(&self) -> Result<Credentials, ClusterError> {
        let config = self.source.config()?;
        let token = config.auth_info.token.as_ref();
        Ok(Credentials {
            server: config.cluster_url.to_string(),
            token: token.map(|token| token.expose_secret().to_owned()),
            certificate: client_certificate(&config.auth_info),
        })
    }

    /// Whether we have each of `rights` (SelfSubjectAccessReview), within `limit`.
    ///
    /// # Errors
    /// Why the API server does not say so.
    pub fn may(&self, rights: &[Right], limit: Duration) -> Result<Vec<bool>, ClusterError> {
        let opened = self.opened()?;
        let answers = rights.iter().map(|right| review(&opened.connection, right));
        let answers = async { tokio::time::timeout(limit, join_all(answers)).await };
        match opened.block_on(answers) {
            Ok(answers) => answers.into_iter().collect(),
            Err(_) => {
                let late = Failure::TimedOut { limit };
                Err(late.into_error(&question(), opened.connection.server()))
            }
        }
    }

    /// Whether the kind NetworkAttachmentDefinition is served.
    ///
    /// # Errors
    /// Why the API server does not say so.
    pub fn knows_networks(&self) -> Result<bool, ClusterError> {
        let path = "/apis/k8s.cni.cncf.io/v1".to_owned();
        let object = "the API group k8s.cni.cncf.io/v1".to_owned();
        let opened = self.opened()?;
        match opened.block_on(opened.connection.get::<IgnoredAny>(path, object)) {
            Ok(_) => Ok(true),
            Err(ClusterError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The pods of a node that have not ended.
    ///
    /// # Errors
    /// [`ClusterError::Forbidden`] without the right to list pods; others as they are documented.
    pub fn pods_of(&self, node: &str) -> Result<Listed<Pod>, ClusterError> {
        let selector = format!("spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed");
        let path = format!("/api/v1/pods?fieldSelector={}", escaped(&selector));
        self.list::<PodObject, Pod>(path, format!("the pods of node {node}"))
    }

    /// All networks.
    ///
    /// # Errors
    /// [`ClusterError::Forbidden`] without the right to list them; others as they are documented.
    pub fn all_networks(&self) -> Result<Listed<Nad>, ClusterError> {
        let path = "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions?".to_owned();
        self.list::<NadObject, Nad>(path, "all network-attachment-definitions".to_owned())
    }

    fn list<O: DeserializeOwned, T: From<O>>(
        &self,
        path: String,
        object: String,
    ) -> Result<Listed<T>, ClusterError> {
        let opened = self.opened()?;
        let path = format!("{path}&limit={LIST_LIMIT}");
        let list: List<O> = opened.block_on(opened.connection.get(path, object))?;
        Ok(Listed {
            has_more: !list.metadata.next.is_empty(),
            items: list.items.into_iter().map(T::from).collect(),
        })
    }
}

fn question() -> Question {
    Question {
        verb: "ask for",
        object: "our rights".to_owned(),
    }
}

/// The client certificate of a kubeconfig; the connection's own error reports one that cannot be read.
fn client_certificate(login: &AuthInfo) -> Option<Vec<u8>> {
    match (&login.client_certificate_data, &login.client_certificate) {
        (Some(data), _) => BASE64_STANDARD.decode(data).ok(),
        (None, Some(path)) => fs::read(path).ok(),
        (None, None) => None,
    }
}

async fn review(connection: &Connection, right: &Right) -> Result<bool, ClusterError> {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
    let asked = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "verb": right.verb,
            "group": right.group,
            "resource": right.resource,
            "subresource": right.subresource,
        }},
    });
    let invalid = |error| ClusterError::Invalid {
        what: format!("what {} answered of our rights", connection.server()),
        remedy: None,
        source: Box::new(error),
    };
    let body = connection.ask(&Call::create(path, &asked)).await;
    let body = body.map_err(|failure| failure.into_error(&question(), connection.server()))?;
    let review: Review = serde_json::from_slice(&body).map_err(invalid)?;
    Ok(review.status.allowed)
}

/// A value of a query (RFC 3986, section 3.4).
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_escaped() {
        assert_eq!(
            escaped("spec.nodeName=n-1,a!=b"),
            "spec.nodeName%3Dn-1%2Ca%21%3Db"
        );
    }
}
