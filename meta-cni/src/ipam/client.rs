//! The connection to a server of ipam.v1, for a process that lives for one call. It is made again when it breaks, so
//! that a server, or an agent before it, that is just restarted gets the same request a moment later. Of several servers,
//! which are one service, the one that answered last is asked first ([`dial::several`]), also by the next process (`last_good`).

mod last_good;
mod server;

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use dial::several::{self, Away, Preferred, Time};
use futures_util::future::join_all;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::{GetPoolRequest, Pool};
use tokio::runtime::Runtime;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use self::last_good::LastGood;
use self::server::One;
use super::config::{Server, check_address};
use super::failure::IpamFailure;
use crate::{limits, trace};

/// Leases.
pub type Leases = LeaseServiceClient<Channel>;

/// A connection that is open.
pub struct Client {
    runtime: Runtime,
    servers: Vec<One>,
    preferred: Preferred,
    last_good: Option<LastGood>,
    address: String,
    deadline: Instant,
    patient: bool,
}

impl Client {
    /// Connects. `patient`: here and in each call, whoever is away is tried again until the time is over. Else a server
    /// that is not running is reported at once. Below `state_dir` it is kept which of several servers answered.
    ///
    /// # Errors
    /// [`IpamFailure::Unreachable`]; [`IpamFailure::Files`]; [`IpamFailure::Certificate`].
    pub fn connect(
        server: &Server,
        state_dir: Option<&Path>,
        limit: Duration,
        patient: bool,
    ) -> Result<Client, IpamFailure> {
        let unreachable = |source| IpamFailure::Unreachable {
            server: server.address.clone(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|source| unreachable(Box::new(source)))?;
        let addresses = check_address(&server.address, false);
        let addresses = addresses.map_err(|problem| unreachable(problem.into()))?;
        let last_good = state_dir.and_then(|dir| LastGood::of(dir, &addresses));
        let files = server.files();
        let all = addresses.all().iter();
        let client = Client {
            runtime,
            servers: all.map(|one| One::new(one, files.as_ref())).collect(),
            preferred: Preferred::new(last_good.as_ref().map_or(0, LastGood::number)),
            last_good,
            address: server.address.clone(),
            deadline: Instant::now() + limit.min(limits::left()),
            patient,
        };
        let connecting = several::ask(
            client.servers.len(),
            &client.preferred,
            client.time(),
            |at| client.servers[at].connect(),
        );
        match client.runtime.block_on(connecting) {
            Ok(()) => Ok(client),
            Err(None) => Err(unreachable("it did not answer in time".into())),
            // All of them were tried.
            Err(Some(IpamFailure::Unreachable { source, .. })) => Err(unreachable(source)),
            Err(Some(failure)) => Err(failure),
        }
    }

    /// Makes a call; again, with the same request, as long as the server is away for a moment and time is left.
    ///
    /// # Errors
    /// The server's answer, or UNAVAILABLE with why it cannot be reached.
    pub fn call<Q, A, F>(
        &self,
        question: Q,
        call: impl Fn(Leases, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.ask(question, |channel, request| {
            call(LeaseServiceClient::new(channel), request)
        })
    }

    /// Makes calls all at once, each once and with `limit` for its answer: one that is stuck delays no other.
    /// The answers come in the order of the questions.
    pub fn call_all<Q, A, F>(
        &self,
        questions: impl IntoIterator<Item = Q>,
        limit: Duration,
        call: impl Fn(Leases, Request<Q>) -> F,
    ) -> Vec<Result<A, Status>>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let now = Instant::now();
        let time = Time {
            deadline: Some((now + limit.min(self.left())).into()),
            patience: now.into(),
        };
        let call = &|channel, request| call(LeaseServiceClient::new(channel), request);
        let calls = questions
            .into_iter()
            .map(|question| self.ask_within(time, question, call));
        let answers = self.runtime.block_on(async { join_all(calls).await });
        self.keep_last_good();
        answers
    }

    /// Looks at a pool.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn pool(&self, name: &str) -> Result<Pool, Status> {
        let question = GetPoolRequest {
            name: name.to_owned(),
        };
        self.ask(question, |channel, request| async move {
            PoolServiceClient::new(channel).get_pool(request).await
        })
    }

    /// Makes a call of any service of the server, as [`Client::call`] does.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub(crate) fn ask<Q, A, F>(
        &self,
        question: Q,
        call: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let asked = self.ask_within(self.time(), question, &call);
        let answer = self.runtime.block_on(asked);
        self.keep_last_good();
        answer
    }

    async fn ask_within<Q, A, F>(
        &self,
        time: Time,
        question: Q,
        call: &impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let deadline = time.deadline;
        let left = || deadline.map_or(Duration::MAX, |end| end - tokio::time::Instant::now());
        let answer = several::ask(self.servers.len(), &self.preferred, time, |at| {
            let mut request = Request::new(question.clone());
            request.set_timeout(left());
            trace::mark(&mut request);
            async move {
                let server = &self.servers[at];
                let channel = server.channel().await.map_err(|away| Away {
                    why: server.status(&away.why),
                    is_transient: away.is_transient,
                })?;
                let status = match call(channel, request).await {
                    Ok(answer) => return Ok(Ok(answer.into_inner())),
                    Err(status) => status,
                };
                if left().is_zero() {
                    // What the caller's own limit has ended: the server is silent.
                    std::future::pending::<()>().await;
                }
                server.is_of_use(status).map(Err)
            }
        });
        match answer.await {
            Ok(answer) => answer,
            Err(Some(away)) => Err(away),
            Err(None) => Err(Status::deadline_exceeded(format!(
                "{} is silent",
                self.address
            ))),
        }
    }

    fn time(&self) -> Time {
        let deadline = self.deadline.into();
        Time {
            deadline: Some(deadline),
            patience: match self.patient {
                true => deadline,
                false => Instant::now().into(),
            },
        }
    }

    fn keep_last_good(&self) {
        if let Some(last_good) = &self.last_good {
            last_good.keep(self.preferred.get());
        }
    }

    /// How much of the time for everything is left.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests;
