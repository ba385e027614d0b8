//! Bearer tokens: an API server says whose a token is (TokenReview), for the audience of this service only. Its answer is kept
//! for a short time, so that a node does not ask for each call.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::sync::Semaphore;

use super::identity::Identity;
use crate::error::Error;

/// Whom a token must be for.
pub const AUDIENCE: &str = "ipam.meta-cni.io";

/// How long an answer is kept: so long a token that was revoked still counts.
const KEPT: Duration = Duration::from_secs(30);
/// How long a refusal is kept.
const REFUSAL_KEPT: Duration = Duration::from_secs(5);
/// How long the API server may take.
const LONGEST: Duration = Duration::from_secs(5);
/// Reviews at once; more wait.
const AT_ONCE: usize = 8;
/// Answers that are kept at once.
const ANSWERS: usize = 10_000;
/// The longest token.
const TOKEN_BYTES: usize = 16 << 10;
/// Where Kubernetes says which node a token is bound to.
const NODE: &str = "authentication.kubernetes.io/node-name";

/// An API server that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The kubeconfig, or the account of the pod, cannot be used.
    #[error("--token-review: the configuration of the API server cannot be used")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No client can be made of it.
    #[error("--token-review: making a client of the API server")]
    Client(#[source] kube::Error),
}

/// Asks an API server whose tokens are.
pub struct Reviewer {
    reviews: Api<TokenReview>,
    answers: Mutex<HashMap<String, Answer>>,
    at_once: Semaphore,
}

struct Answer {
    until: Instant,
    /// None: the token is nobody's.
    identity: Option<Identity>,
}

impl std::fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reviewer")
    }
}

impl Reviewer {
    /// Asks the API server of a kubeconfig; without one, that of the pod that this process is in.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn new(kubeconfig: Option<&Path>) -> Result<Reviewer, TokenError> {
        let config = match kubeconfig {
            Some(path) => {
                let read = Kubeconfig::read_from(path);
                let read = read.map_err(|error| TokenError::Config(error.into()))?;
                let options = KubeConfigOptions::default();
                let config = Config::from_custom_kubeconfig(read, &options).await;
                config.map_err(|error| TokenError::Config(error.into()))?
            }
            None => Config::incluster().map_err(|error| TokenError::Config(error.into()))?,
        };
        let client = Client::try_from(config).map_err(TokenError::Client)?;
        Ok(Reviewer {
            reviews: Api::all(client),
            answers: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
        })
    }

    /// Whose a token is.
    ///
    /// # Errors
    /// [`Error::BadBearer`] if it is nobody's, [`Error::Unreviewed`] if the API server does not say.
    pub async fn review(&self, token: &str) -> Result<Identity, Error> {
        if token.is_empty() || token.len() > TOKEN_BYTES {
            return Err(Error::BadBearer);
        }
        if let Some(known) = self.known(token) {
            return known.ok_or(Error::BadBearer);
        }
        let asked = tokio::time::timeout(LONGEST, self.ask(token)).await;
        let status = asked.ok().flatten().ok_or(Error::Unreviewed)?;
        let identity = identity(status);
        self.keep(token, identity.clone());
        identity.ok_or(Error::BadBearer)
    }

    fn known(&self, token: &str) -> Option<Option<Identity>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(token)?;
        (answer.until > Instant::now()).then(|| answer.identity.clone())
    }

    fn keep(&self, token: &str, identity: Option<Identity>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if answers.len() >= ANSWERS {
            answers.retain(|_, answer| answer.until > now);
        }
        if answers.len() >= ANSWERS {
            answers.clear();
        }
        let kept = match identity {
            Some(_) => KEPT,
            None => REFUSAL_KEPT,
        };
        let until = now + kept;
        answers.insert(token.to_owned(), Answer { until, identity });
    }

    async fn ask(&self, token: &str) -> Option<TokenReviewStatus> {
        let _place = self.at_once.acquire().await.ok()?;
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.to_owned(),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        match self.reviews.create(&PostParams::default(), &review).await {
            Ok(answer) => answer.status,
            Err(error) => {
                tracing::warn!(%error, "the API server did not review a token");
                None
            }
        }
    }
}

/// Whose a token is by the answer: an API server that does not know audiences confirms none.
fn identity(status: TokenReviewStatus) -> Option<Identity> {
    let is_for_us = status
        .audiences
        .is_some_and(|all| all.iter().any(|audience| audience == AUDIENCE));
    if status.authenticated != Some(true) || !is_for_us {
        return None;
    }
    let user = status.user?;
    let node = user.extra.and_then(|extra| {
        let names = extra.get(NODE)?;
        // One token is bound to one node.
        (names.len() == 1).then(|| names.first().cloned()).flatten()
    });
    Some(Identity::Token {
        name: user.username.filter(|name| !name.is_empty())?,
        node,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_of_its_user_and_node_if_it_is_for_this_service() {
        let user = json!({"username": "system:serviceaccount:a:b", "extra": {NODE: ["n1"]}});
        let ours = json!([AUDIENCE]);
        for (answer, expected) in [
            (
                json!({"authenticated": true, "audiences": ours, "user": user}),
                true,
            ),
            (
                json!({"authenticated": false, "audiences": ours, "user": user}),
                false,
            ),
            (
                json!({"authenticated": true, "audiences": ["other"], "user": user}),
                false,
            ),
            (json!({"authenticated": true, "user": user}), false),
            (json!({"authenticated": true, "audiences": ours}), false),
        ] {
            let status = serde_json::from_value(answer.clone()).unwrap();
            let found = identity(status);
            let node = Some("n1".to_owned());
            let name = "system:serviceaccount:a:b".to_owned();
            let wanted = expected.then_some(Identity::Token { name, node });
            assert_eq!(found, wanted, "{answer}");
        }
    }
}
