//! All objects of a kind, and changes of one object: for a person's command, not for a verb.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::ApiCluster;
use super::connection::{Call, Connection};
use super::failure::{Failure, Question};
use crate::cluster::ClusterError;

/// Objects that are asked for at once.
const PAGE: usize = 500;

/// The parts of a list that are read.
#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(default)]
    items: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListMetadata {
    #[serde(rename = "continue")]
    more: Option<String>,
}

impl Connection {
    async fn page(&self, path: &str, object: &str, from: &str) -> Result<List, ClusterError> {
        let question = Question {
            verb: "list",
            object: object.to_owned(),
        };
        // A token is base64 (RFC 4648, section 5) and stands in a URL as it is.
        let path = match from {
            "" => format!("{path}?limit={PAGE}"),
            from => format!("{path}?limit={PAGE}&continue={from}"),
        };
        let body = match self.ask(&Call::get(path)).await {
            Ok(body) => body,
            // The cluster has no such kind.
            Err(Failure::Answer {
                status: StatusCode::NOT_FOUND,
                ..
            }) => {
                return Ok(List {
                    metadata: ListMetadata::default(),
                    items: Vec::new(),
                });
            }
            Err(failure) => return Err(failure.into_error(&question, self.server())),
        };
        serde_json::from_slice(&body).map_err(|error| ClusterError::Invalid {
            what: format!("what {} answered for {object}", self.server()),
            remedy: None,
            source: Box::new(error),
        })
    }
}

impl ApiCluster {
    /// Gives all objects of a path to `each`, in pages; none if the cluster has no such kind.
    ///
    /// # Errors
    /// As for any question ([`crate::cluster::Cluster`]).
    pub(crate) fn list_each(
        &self,
        path: &str,
        object: &str,
        mut each: impl FnMut(Value),
    ) -> Result<(), ClusterError> {
        let opened = self.opened()?;
        let mut from = String::new();
        loop {
            let list = opened.block_on(opened.connection.page(path, object, &from))?;
            list.items.into_iter().for_each(&mut each);
            match list.metadata.more {
                Some(more) if !more.is_empty() => from = more,
                _ => return Ok(()),
            }
        }
    }

    /// Changes an object by a JSON merge patch (RFC 7396).
    ///
    /// # Errors
    /// As for any question ([`crate::cluster::Cluster`]); a patch with another `resourceVersion` than the object's is refused.
    pub(crate) fn merge(
        &self,
        path: String,
        object: &str,
        patch: &Value,
    ) -> Result<(), ClusterError> {
        let opened = self.opened()?;
        let question = Question {
            verb: "patch",
            object: object.to_owned(),
        };
        let call = Call::merge_patch(path, patch);
        match opened.block_on(opened.connection.ask(&call)) {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.into_error(&question, opened.connection.server())),
        }
    }
}
