//! Requests with somebody's rights, as they go over the wire: for what a test says about rights, and
//! about objects that are refused.

use std::fs;
use std::path::Path;

use kube::Client;
use serde_json::{Value, json};

use crate::servers::kube::{ApiServer, block_on, client};

/// Who a kubeconfig says one is.
pub struct User {
    client: Client,
}

impl User {
    /// The user of a kubeconfig.
    ///
    /// # Panics
    /// When the file cannot be read.
    pub fn of(kubeconfig: &Path) -> User {
        let text = fs::read_to_string(kubeconfig).expect("read a kubeconfig");
        User {
            client: client(&text),
        }
    }

    /// GETs a path; HTTP status, and the object or the `Status` that was answered.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn get(&self, path: &str) -> (u16, Value) {
        self.request(http::Request::get(path), None)
    }

    /// POSTs an object, see [`User::get`].
    ///
    /// # Panics
    /// When there is no answer.
    pub fn post(&self, path: &str, object: &Value) -> (u16, Value) {
        let request = http::Request::post(path).header("Content-Type", "application/json");
        self.request(request, Some(object))
    }

    /// PATCHes an object by a JSON merge patch, see [`User::get`].
    ///
    /// # Panics
    /// When there is no answer.
    pub fn patch(&self, path: &str, patch: &Value) -> (u16, Value) {
        let kind = "application/merge-patch+json";
        let request = http::Request::patch(path).header("Content-Type", kind);
        self.request(request, Some(patch))
    }

    /// PATCHes an object as `kubectl patch` does (a strategic merge), see [`User::get`].
    ///
    /// # Panics
    /// When there is no answer.
    pub fn merge(&self, path: &str, patch: &Value) -> (u16, Value) {
        let kind = "application/strategic-merge-patch+json";
        let request = http::Request::patch(path).header("Content-Type", kind);
        self.request(request, Some(patch))
    }

    /// DELETEs a path, see [`User::get`].
    ///
    /// # Panics
    /// When there is no answer.
    pub fn delete(&self, path: &str) -> (u16, Value) {
        self.request(http::Request::delete(path), None)
    }

    fn request(&self, request: http::request::Builder, body: Option<&Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string().into_bytes());
        let request = request.body(body.unwrap_or_default());
        let request = request.expect("a path makes a request");
        match block_on(self.client.request::<Value>(request)) {
            Ok(object) => (200, object),
            Err(kube::Error::Api(status)) => (status.code, json!({ "message": status.message })),
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

impl ApiServer {
    /// The user who may do anything.
    pub fn admin(&self) -> User {
        User {
            client: self.client.clone(),
        }
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("User")
    }
}
