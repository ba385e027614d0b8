//! The API server for a process that stays: a client whose credentials are read again when they change, and that
//! counts what it asks for.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use meta_cni::cluster::ClusterError;
use meta_cni::cluster::api::{Connection, PATIENCE, Source, SourceError, new_client};
use secrecy::ExposeSecret;
use tower::{BoxError, Service};

use super::blocking;
use super::index::Kind;
use super::metrics::{ApiRequest, Metrics};
use super::watch::States;

/// How often kubeconfig, token and certificates are read: a kubelet renews a token minutes before its end.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// How long the head of an answer may take: longer than a list of many objects does.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// The API server, with whatever credentials are there now.
#[derive(Clone)]
pub struct Api {
    renewed: Renewed,
    client: Client,
    connection: Connection,
}

/// What is sent through the newest client.
#[derive(Clone)]
struct Renewed(Arc<Shared>);

struct Shared {
    source: Source,
    current: RwLock<(u64, Client)>,
    metrics: Metrics,
    states: States,
}

impl Api {
    /// Reads the credentials, within an async runtime. Nothing is sent yet.
    ///
    /// # Errors
    /// As the variants of [`ClusterError`] say, if they cannot be read or used.
    pub(super) fn open(
        source: Source,
        metrics: Metrics,
        states: States,
    ) -> Result<Api, ClusterError> {
        let config = source.config()?;
        let client = new_client(&source, &config)?;
        let renewed = Renewed(Arc::new(Shared {
            source,
            current: RwLock::new((fingerprint(&config), client)),
            metrics,
            states,
        }));
        let client = Client::new(renewed.clone(), config.default_namespace.clone());
        Ok(Api {
            connection: Connection::over(client.clone(), &config, PATIENCE),
            renewed,
            client,
        })
    }

    /// kube's client, for watches.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Single requests, with their tries.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Reads the credentials again whenever they change; never ends.
    pub(super) async fn renew(&self) {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let renewed = self.renewed.clone();
            match blocking(move || renewed.renew()).await {
                Ok(false) => {}
                Ok(true) => tracing::info!("the credentials for the API server are new"),
                Err(error) => tracing::warn!(%error, "going on with the credentials as they were"),
            }
        }
    }
}

impl Renewed {
    /// Whether there are new ones.
    fn renew(&self) -> Result<bool, SourceError> {
        let Shared {
            source, current, ..
        } = &*self.0;
        let config = source.config()?;
        let fingerprint = fingerprint(&config);
        let is_same = current.read().unwrap_or_else(PoisonError::into_inner).0 == fingerprint;
        if is_same {
            return Ok(false);
        }
        let client = new_client(source, &config)?;
        *current.write().unwrap_or_else(PoisonError::into_inner) = (fingerprint, client);
        Ok(true)
    }

    fn current(&self) -> Client {
        let current = self.0.current.read();
        current.unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

impl Service<Request<Body>> for Renewed {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.current();
        let shared = Arc::clone(&self.0);
        let verb = verb(&request);
        let watched = (verb == "watch").then(|| kind(request.uri().path()));
        Box::pin(async move {
            // What follows the head of an answer may take any time: a watch lasts.
            let answered = tokio::time::timeout(HEAD_LIMIT, client.send(request)).await;
            let answered =
                answered.map_or_else(|silent| Err(silent.into()), |a| a.map_err(BoxError::from));
            shared.metrics.api_request(&ApiRequest {
                verb,
                code: match &answered {
                    Ok(response) => response.status().as_u16(),
                    Err(_) => 0,
                },
            });
            // A watch that goes on where it was interrupted may have nothing to report for days.
            let is_followed = answered
                .as_ref()
                .is_ok_and(|answer| answer.status().is_success());
            if let (Some(Some(kind)), true) = (watched, is_followed) {
                shared.states.hears(kind);
            }
            answered
        })
    }
}

/// The kind of the objects at a path.
fn kind(path: &str) -> Option<Kind> {
    Kind::ALL
        .into_iter()
        .find(|kind| path.rsplit('/').next() == Some(kind.as_str()))
}

/// What Kubernetes calls the request (its authorization verbs), as far as we make any.
fn verb(request: &Request<Body>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::GET if query.split('&').any(|pair| pair == "watch=true") => "watch",
        Method::GET if query.contains("resourceVersion=") || query.contains("limit=") => "list",
        Method::GET => "get",
        Method::PATCH => "patch",
        Method::POST => "create",
        _ => "other",
    }
}

/// Changes when the server, its authority or our credentials do.
fn fingerprint(config: &kube::Config) -> u64 {
    let mut hasher = DefaultHasher::new();
    config.cluster_url.to_string().hash(&mut hasher);
    config.root_cert.hash(&mut hasher);
    let login = &config.auth_info;
    for secret in [&login.token, &login.client_key_data] {
        let secret = secret.as_ref().map(ExposeSecret::expose_secret);
        secret.hash(&mut hasher);
    }
    login.client_certificate_data.hash(&mut hasher);
    // Files that kube reads by their path when it makes a client.
    for path in [&login.client_certificate, &login.client_key] {
        let read = path.as_ref().and_then(|path| std::fs::read(path).ok());
        read.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_kubernetes_calls_them() {
        for (method, uri, expected) in [
            ("GET", "/api/v1/namespaces/a/pods/web", "get"),
            ("GET", "/api/v1/pods?&limit=500&fieldSelector=x", "list"),
            ("GET", "/api/v1/pods?watch=true&resourceVersion=7", "watch"),
            ("PATCH", "/api/v1/namespaces/a/pods/web/status", "patch"),
            ("POST", "/api/v1/namespaces/a/events", "create"),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .body(Body::empty())
                .unwrap();
            assert_eq!(verb(&request), expected, "{method} {uri}");
        }
    }

    #[tokio::test]
    async fn a_watch_that_goes_on_is_followed_though_nothing_has_changed() {
        let states = States::default();
        let answers = tower::service_fn(|_: Request<Body>| async {
            Ok::<_, BoxError>(Response::new(Body::empty()))
        });
        let mut renewed = Renewed(Arc::new(Shared {
            source: Source::InCluster,
            current: RwLock::new((0, Client::new(answers, "default"))),
            metrics: Metrics::register(&mut prometheus_client::registry::Registry::default()),
            states: states.clone(),
        }));
        for (query, is_followed) in [("limit=200", false), ("watch=true", true)] {
            let request = Request::get(format!("/api/v1/pods?{query}"));
            renewed
                .call(request.body(Body::empty()).unwrap())
                .await
                .unwrap();
            let problem = states.of(Kind::Pods).problem;
            assert_eq!(problem.is_none(), is_followed, "{query}: {problem:?}");
        }
        assert!(states.of(Kind::Networks).problem.is_some());
    }

    #[test]
    fn what_a_watch_is_about_is_known_by_its_path() {
        let networks = "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions";
        for (path, expected) in [
            ("/api/v1/pods", Some(Kind::Pods)),
            (networks, Some(Kind::Networks)),
            ("/api/v1/namespaces", Some(Kind::Namespaces)),
            ("/api/v1/nodes", None),
        ] {
            assert_eq!(kind(path), expected, "{path}");
        }
    }
}
