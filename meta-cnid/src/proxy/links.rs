//! The connections to all servers of one store. A call goes to the server that answered last, and on to the next one when that
//! server fails, drains or is silent ([`dial::several`]).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use dial::address::Address;
use dial::several::{self, Addresses, Away, Preferred, Repeated, Time, Unread};
use futures_util::FutureExt as _;
use futures_util::future::{join_all, select_all};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::link::{self, Keeper, Link, State};
use super::metrics::Metrics;
use super::upstream::Upstreams;

/// How long a call is tried again and again while no server is of use, such as while connections are made: its caller does the
/// same, if it is patient.
const HOLD: Duration = Duration::from_secs(1);

/// An answer, and the server that it is from.
pub(super) type Answered = (Response<Incoming>, Address);

/// The callers' side. Clones share the connections.
#[derive(Clone)]
pub(super) struct Links {
    addresses: Addresses,
    all: Arc<[Link]>,
    preferred: Preferred,
}

/// The connections, as they are made.
pub struct Connections(Vec<watch::Receiver<State>>);

impl Connections {
    /// Ends when a connection is made, also one that takes another one's place.
    pub async fn next(&mut self) {
        let next = self
            .0
            .iter_mut()
            .map(|seen| Link::next_connection(seen).boxed());
        select_all(next).await;
    }
}

/// The side that makes the connections.
pub struct Keepers(Vec<Keeper>);

impl Keepers {
    /// Keeps the connections; never ends.
    pub(super) async fn keep(self) -> Infallible {
        join_all(self.0.into_iter().map(Keeper::keep)).await;
        std::future::pending().await
    }
}

/// Both sides of the connections, which are made once [`Keepers::keep`] runs.
pub(super) fn new(upstreams: Upstreams, metrics: &Metrics) -> (Links, Keepers) {
    let (addresses, all) = upstreams.into_parts();
    let both = all.into_iter().map(|one| link::new(one, metrics.clone()));
    let (all, keepers): (Vec<_>, Vec<_>) = both.unzip();
    let links = Links {
        addresses,
        all: all.into(),
        preferred: Preferred::default(),
    };
    (links, Keepers(keepers))
}

/// A server that cannot answer a call.
enum Useless {
    /// It says so.
    Answer(Box<Answered>),
    /// It cannot be reached, or the connection broke.
    Failed(Status),
}

impl Links {
    /// The addresses, as they were written.
    pub(super) fn server(&self) -> &str {
        self.addresses.as_str()
    }

    /// Sends a request, and returns the answer once it begins. A request whose messages go on is sent to one server.
    pub(super) async fn send(
        &self,
        request: Request<Body>,
        streams: bool,
    ) -> Result<Answered, Status> {
        let from = |link: &Link, answer| (answer, link.server().clone());
        if let [link] = &*self.all {
            return Ok(from(link, link.send(request).await?));
        }
        if streams {
            let order = || self.preferred.order(self.all.len()).map(|at| &self.all[at]);
            let link = order().find(|link| link.is_up()).or(order().next());
            let link = link.ok_or_else(|| Status::unavailable("there is no ipam-server"))?;
            return Ok(from(link, link.send(request).await?));
        }
        let repeated = Repeated::read(request).await.map_err(unread)?;
        let now = Instant::now();
        let limit = several::time_limit(repeated.headers());
        let time = Time {
            deadline: limit.map(|limit| now + limit),
            patience: now + HOLD,
        };
        let answer = several::ask(self.all.len(), &self.preferred, time, |at| {
            let link = &self.all[at];
            let request = repeated.request().map(Body::new);
            async move {
                let away = |why| Away {
                    why,
                    is_transient: true,
                };
                let answer = link.send_now(request).await;
                let answer = answer.map_err(|status| away(Useless::Failed(status)))?;
                match several::is_unavailable(answer.headers()) {
                    true => Err(away(Useless::Answer(Box::new(from(link, answer))))),
                    false => Ok(from(link, answer)),
                }
            }
        });
        match answer.await {
            Ok(answered) => Ok(answered),
            Err(Some(Useless::Answer(answered))) => Ok(*answered),
            Err(Some(Useless::Failed(status))) => Err(status),
            Err(None) => Err(Status::deadline_exceeded(format!(
                "no ipam-server at {} answers in time",
                self.addresses
            ))),
        }
    }

    /// The connections from now on.
    pub(super) fn connections(&self) -> Connections {
        Connections(self.all.iter().map(Link::states).collect())
    }

    /// Ends once there is a connection.
    pub(super) async fn connected(&self) {
        self.connections().next().await;
    }
}

fn unread(error: Unread) -> Status {
    let status = Status::invalid_argument(cni::error::with_causes(&error));
    drop(error);
    status
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dial::several::is_unavailable;
    use tokio::net::UnixListener;
    use tokio::runtime::{Builder, Runtime};
    use tonic::transport::Server;

    use super::*;

    /// A server on threads of its own: the one that is named `unavailable` answers calls by UNAVAILABLE, others by
    /// UNIMPLEMENTED.
    fn serve(path: &Path) -> Runtime {
        let mut threads = Builder::new_multi_thread();
        let runtime = threads.worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let listener = UnixListener::bind(path).unwrap();
        let is_of_use = !path.ends_with("unavailable");
        let calls = axum::Router::new().fallback(move |request: Request<Body>| async move {
            let is_health = request.uri().path().starts_with("/grpc.health");
            match is_of_use || is_health {
                true => Status::unimplemented("it answers").into_http::<Body>(),
                false => Status::unavailable("its store is down").into_http(),
            }
        });
        let incoming = futures_util::stream::unfold(listener, |listener| async {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        runtime.spawn(async move {
            let routes = tonic::service::Routes::from(calls);
            let served = Server::builder().add_routes(routes);
            served.serve_with_incoming(Box::pin(incoming)).await
        });
        drop(entered);
        runtime
    }

    /// Ends a server as a kill does.
    fn kill(server: Runtime, path: &Path) {
        server.shutdown_background();
        std::fs::remove_file(path).unwrap();
    }

    fn request() -> Request<Body> {
        let request = Request::post("http://localhost/ipam.v1.LeaseService/Allocate");
        request
            .header("grpc-timeout", "30S")
            .body(Body::empty())
            .unwrap()
    }

    #[tokio::test]
    async fn a_call_goes_to_the_next_server_when_one_is_not_running_is_of_no_use_or_hangs() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let unavailable = serve(&path("unavailable"));
        let good = serve(&path("good"));
        let other = serve(&path("other"));
        let _hanging = UnixListener::bind(path("hangs")).unwrap();
        let names = ["gone", "unavailable", "hangs", "good", "other"];
        let addresses = names.map(|name| format!("unix://{}", path(name).display()));
        let upstreams = Upstreams::new(&addresses.join(","), None).unwrap();
        let (links, keepers) = new(upstreams, &Metrics::default());
        let keeping = tokio::spawn(keepers.keep());
        links.connected().await;
        let asked = || async {
            let (answer, server) = links.send(request(), false).await.unwrap();
            assert!(!is_unavailable(answer.headers()));
            server.to_string()
        };
        let first = asked().await;
        assert_eq!(asked().await, first, "the one that answered last");
        // Which of them is connected first is left to them.
        let (one, two) = match first == addresses[3] {
            true => ((good, "good"), (other, "other")),
            false => ((other, "other"), (good, "good")),
        };
        kill(one.0, &path(one.1));
        let second = asked().await;
        assert_eq!(second, format!("unix://{}", path(two.1).display()));
        // If no server is of use, the answer of one that says so is passed on.
        kill(two.0, &path(two.1));
        let mut short = request();
        let headers = short.headers_mut();
        headers.insert("grpc-timeout", "1500m".parse().unwrap());
        let answer = links.send(short, false).await;
        let is_away = match answer {
            Ok((answer, _)) => is_unavailable(answer.headers()),
            Err(status) => status.code() == tonic::Code::Unavailable,
        };
        assert!(is_away);
        keeping.abort();
        kill(unavailable, &path("unavailable"));
    }
}
