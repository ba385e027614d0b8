//! Bearer tokens: an API server says whose a token is (TokenReview), for the audience of this service only. Its answer is kept
//! for a short time, so that a node does not ask for each call.
//!
//! Whoever reaches the port can send tokens. What does not even claim to be for this service is refused here, and tokens
//! that somebody is known by are reviewed again beside those of strangers, not behind them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::identity::Identity;

/// Whom a token must be for.
pub const AUDIENCE: &str = "ipam.meta-cni.io";

/// How long an answer is kept: so long a token that was revoked still counts.
const KEPT: Duration = Duration::from_secs(30);
/// How long a refusal is kept.
const REFUSAL_KEPT: Duration = Duration::from_secs(5);
/// How long the API server may take.
const LONGEST: Duration = Duration::from_secs(5);
/// Reviews at once of tokens that nobody is known by, and of the others; more wait.
const AT_ONCE: usize = 4;
/// Identities that are kept at once.
const IDENTITIES: usize = 10_000;
/// Refusals that are kept at once.
const REFUSALS: usize = 1_000;
/// How far the clock of the API server may be behind, in seconds.
const SKEW: i64 = 60;
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
    answers: Mutex<Answers>,
    of_known: Semaphore,
    of_strangers: Semaphore,
}

/// SHA-256 of a token.
type Digest = [u8; 32];

#[derive(Default)]
struct Answers {
    /// Also those that must be asked for again.
    identities: HashMap<Digest, (Instant, Identity)>,
    refusals: HashMap<Digest, Instant>,
}

/// What is known of a token.
enum Known {
    Nothing,
    /// It was somebody's a while ago.
    Once,
    Is(Identity),
    Nobody,
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
            of_known: Semaphore::new(AT_ONCE),
            of_strangers: Semaphore::new(AT_ONCE),
        })
    }

    /// Whose a token is.
    ///
    /// # Errors
    /// [`Error::BadBearer`] if it is nobody's, [`Error::Unreviewed`] if the API server does not say.
    pub async fn review(&self, token: &str) -> Result<Identity, Error> {
        let now = jiff::Timestamp::now().as_second();
        if token.len() > TOKEN_BYTES || !claims_to_be_for_us(token, now) {
            return Err(Error::BadBearer);
        }
        let digest = digest(token);
        let places = match self.known(&digest) {
            Known::Is(identity) => return Ok(identity),
            Known::Nobody => return Err(Error::BadBearer),
            Known::Once => &self.of_known,
            Known::Nothing => &self.of_strangers,
        };
        let asked = async {
            let _place = places.acquire().await.ok()?;
            // Another request with the token may have been faster.
            match self.known(&digest) {
                Known::Is(identity) => return Some(Some(identity)),
                Known::Nobody => return Some(None),
                Known::Once | Known::Nothing => {}
            }
            let identity = identity(self.ask(token).await?);
            self.keep(digest, identity.clone());
            Some(identity)
        };
        let asked = tokio::time::timeout(LONGEST, asked).await;
        let identity = asked.ok().flatten().ok_or(Error::Unreviewed)?;
        identity.ok_or(Error::BadBearer)
    }

    fn known(&self, digest: &Digest) -> Known {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match (answers.identities.get(digest), answers.refusals.get(digest)) {
            (Some((until, identity)), _) if *until > now => Known::Is(identity.clone()),
            (_, Some(until)) if *until > now => Known::Nobody,
            (Some(_), _) => Known::Once,
            (None, _) => Known::Nothing,
        }
    }

    fn keep(&self, digest: Digest, identity: Option<Identity>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Some(identity) = identity else {
            answers.identities.remove(&digest);
            if answers.refusals.len() >= REFUSALS {
                answers.refusals.retain(|_, until| *until > now);
            }
            // Without room it is only asked for again.
            if answers.refusals.len() < REFUSALS {
                answers.refusals.insert(digest, now + REFUSAL_KEPT);
            }
            return;
        };
        if answers.identities.len() >= IDENTITIES {
            answers.identities.retain(|_, (until, _)| *until > now);
        }
        if answers.identities.len() < IDENTITIES {
            answers.identities.insert(digest, (now + KEPT, identity));
        }
    }

    async fn ask(&self, token: &str) -> Option<TokenReviewStatus> {
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

fn digest(token: &str) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// Whether a token says that it is for this service and has not ended (RFC 7519, 4.1): the API server is not asked for
/// others. Whether that is true is its business.
fn claims_to_be_for_us(token: &str, now: i64) -> bool {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Audiences {
        One(String),
        Many(Vec<String>),
    }
    #[derive(serde::Deserialize)]
    struct Claims {
        aud: Audiences,
        exp: i64,
    }
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims);
    let claims: Option<Claims> = claims
        .ok()
        .and_then(|claims| serde_json::from_slice(&claims).ok());
    claims.is_some_and(|claims| {
        let is_for_us = match claims.aud {
            Audiences::One(one) => one == AUDIENCE,
            Audiences::Many(many) => many.iter().any(|one| one == AUDIENCE),
        };
        is_for_us && claims.exp.saturating_add(SKEW) > now
    })
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
    fn what_does_not_claim_to_be_for_this_service_is_not_reviewed() {
        let token = |claims: serde_json::Value| {
            let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
            format!(
                "{}.{}.{}",
                encode("{}"),
                encode(&claims.to_string()),
                encode("x")
            )
        };
        for (text, expected) in [
            (token(json!({"aud": [AUDIENCE], "exp": 1000})), true),
            (token(json!({"aud": AUDIENCE, "exp": 1000})), true),
            (token(json!({"aud": ["other"], "exp": 1000})), false),
            (token(json!({"aud": [AUDIENCE], "exp": 900})), false),
            (token(json!({"aud": [AUDIENCE]})), false),
            ("rubbish".to_owned(), false),
            ("a.b.c".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(claims_to_be_for_us(&text, 980), expected, "{text}");
        }
    }

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
