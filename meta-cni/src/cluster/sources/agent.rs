//! The cluster as the agent of this node knows it, over its socket. If the agent is not running, the API server is asked
//! itself where we may, else the agent is waited for.

pub mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cni::error::with_causes;
use futures_util::future::BoxFuture;
use proto::agent::v1::agent_service_client::AgentServiceClient;
use proto::agent::v1::{
    GetStatusRequest, GetStatusResponse, ReportRequest, ReportResponse, ResolveRequest,
    ResolveResponse,
};
use tokio::runtime::Runtime;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::api::ApiCluster;
use crate::cluster::object::check_uid;
use crate::cluster::{Cluster, ClusterError, Event, Nad, NadName, Pod, PodRef, Policy};
use crate::{rpc, trace};

/// The pause between two tries to reach an agent that is away.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one call may take before it is made again: the agent itself may have to ask the API server for the pod (12 s)
/// and for its networks (10 s).
const CALL_LIMIT: Duration = Duration::from_secs(25);
/// How long the agent is given for what nobody waits for: it only takes it.
const REPORT_LIMIT: Duration = Duration::from_secs(2);
/// How long an agent that takes the connection and says nothing is given if there is somebody else to ask.
const CALL_LIMIT_WITH_FALLBACK: Duration = Duration::from_secs(5);

type Client = AgentServiceClient<Channel>;

/// A [`Cluster`] that asks the agent.
pub struct AgentCluster {
    socket: PathBuf,
    wait: Duration,
    call_limit: Duration,
    fallback: Option<ApiCluster>,
    link: Mutex<Option<Link>>,
    /// Whether the agent was found to be away: it is not asked again by this process.
    is_away: AtomicBool,
    /// Networks that came with the pod.
    networks: Mutex<BTreeMap<NadName, Nad>>,
    /// Policies that came with it, by namespace.
    policies: Mutex<BTreeMap<String, Vec<Policy>>>,
}

/// A call of agent.v1, made anew for each try.
type Call<'a, T> = dyn Fn(Client) -> BoxFuture<'static, Result<Response<T>, Status>> + 'a;

/// What asking came to.
enum Answer<'a, T> {
    /// The agent answered.
    OfAgent(T),
    /// The agent is away, and this may be asked.
    AskInstead(&'a ApiCluster),
}

/// The connection, and the runtime that it lives on.
struct Link {
    // Before the runtime: dropped in this order.
    client: Client,
    runtime: Runtime,
}

/// The agent did not answer.
#[derive(Debug, thiserror::Error)]
enum Away {
    #[error("no async runtime")]
    Runtime(#[source] std::io::Error),
    #[error("nobody answers there")]
    Connect(#[source] rpc::DialError),
    #[error("the connection broke: {}", .0.message())]
    Broken(Status),
    #[error("no answer within {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    #[error("{:?}: {}; has it another version than meta-cni?", .0.code(), .0.message())]
    Unfit(Status),
}

impl AgentCluster {
    /// The agent behind this socket. It is waited for during `wait` if it is away, unless `fallback` can be asked
    /// instead. Nothing is connected yet.
    pub fn new(socket: PathBuf, wait: Duration, fallback: Option<ApiCluster>) -> AgentCluster {
        AgentCluster {
            socket,
            wait,
            call_limit: if fallback.is_some() {
                CALL_LIMIT_WITH_FALLBACK
            } else {
                CALL_LIMIT
            },
            fallback,
            link: Mutex::default(),
            is_away: AtomicBool::new(false),
            networks: Mutex::default(),
            policies: Mutex::default(),
        }
    }

    /// Asks once and for one second at most: for a DEL that would like to know more but must not depend on it.
    #[must_use]
    pub fn impatient(mut self) -> AgentCluster {
        self.wait = Duration::ZERO;
        self.call_limit = Duration::from_secs(1);
        self.fallback = self.fallback.map(ApiCluster::impatient);
        self
    }

    /// How the agent is, asked once and within `limit`.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`] if it does not answer.
    pub fn agent_status(&self, limit: Duration) -> Result<GetStatusResponse, ClusterError> {
        let answered = self.once(limit, &|mut client: Client| {
            Box::pin(async move { client.get_status(GetStatusRequest {}).await })
        });
        match answered {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(error),
            Err(away) => Err(self.unavailable(away)),
        }
    }

    /// Asks the agent, again if it is away and worth waiting for.
    fn ask<T>(&self, call: &Call<'_, T>) -> Result<Answer<'_, T>, ClusterError> {
        self.ask_within(self.wait, self.call_limit, call)
    }

    /// The same, with another time to wait and another limit for one call.
    fn ask_within<T>(
        &self,
        wait: Duration,
        limit: Duration,
        call: &Call<'_, T>,
    ) -> Result<Answer<'_, T>, ClusterError> {
        let deadline = Instant::now() + wait;
        loop {
            if let (Some(api), true) = (&self.fallback, self.is_away.load(Ordering::Relaxed)) {
                return Ok(Answer::AskInstead(api));
            }
            let away = match self.once(limit, call) {
                Ok(answer) => return answer.map(Answer::OfAgent),
                Err(away) => away,
            };
            let time_is_left = Instant::now() + PAUSE < deadline;
            match &self.fallback {
                // It was there a moment ago: the next agent is near.
                Some(_) if matches!(away, Away::Broken(_)) && time_is_left => {}
                Some(_) => {
                    let socket = self.socket.display();
                    let cause = with_causes(&away);
                    tracing::warn!(%socket, cause, "asking the API server instead of the agent");
                    self.is_away.store(true, Ordering::Relaxed);
                }
                None if time_is_left && !matches!(away, Away::Unfit(_)) => {}
                None => return Err(self.unavailable(away)),
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn once<T>(
        &self,
        limit: Duration,
        call: &Call<'_, T>,
    ) -> Result<Result<T, ClusterError>, Away> {
        let mut slot = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let link = match slot.take() {
            Some(link) => link,
            None => self.connect(limit)?,
        };
        let call = call(link.client.clone());
        let answered = link
            .runtime
            .block_on(async { tokio::time::timeout(limit, call).await });
        let status = match answered {
            Err(_) => return Err(Away::Silent(limit)),
            Ok(Ok(response)) => {
                *slot = Some(link);
                return Ok(Ok(response.into_inner()));
            }
            Ok(Err(status)) => status,
        };
        match wire::from_status(&status) {
            Some(error) => {
                *slot = Some(link);
                Ok(Err(error))
            }
            None if wire::is_answer(&status) => Err(Away::Unfit(status)),
            None => Err(Away::Broken(status)),
        }
    }

    fn connect(&self, limit: Duration) -> Result<Link, Away> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(Away::Runtime)?;
        let dial = rpc::unix_channel(&self.socket);
        let channel = runtime
            .block_on(async { tokio::time::timeout(limit, dial).await })
            .map_err(|_| Away::Silent(limit))?
            .map_err(Away::Connect)?;
        Ok(Link {
            client: AgentServiceClient::new(channel),
            runtime,
        })
    }

    fn unavailable(&self, away: Away) -> ClusterError {
        ClusterError::Unavailable {
            what: format!("the agent of this node at {}", self.socket.display()),
            remedy: "is meta-cnid running on this node? See its DaemonSet or service, and its log \
                     (agentSocket \"\" does without it)"
                .to_owned(),
            source: Box::new(away),
        }
    }

    /// Asks for a pod, for networks, or for both.
    fn resolve(
        &self,
        pod: Option<&PodRef>,
        names: &[NadName],
        policy_namespaces: &[String],
    ) -> Result<Answer<'_, ResolveResponse>, ClusterError> {
        let request = ResolveRequest {
            pod: pod.map(wire::to_pod_ref),
            networks: names.iter().map(wire::to_name).collect(),
            policy_namespaces: policy_namespaces.to_vec(),
        };
        self.ask(&|mut client| {
            let mut request = Request::new(request.clone());
            trace::mark(&mut request);
            Box::pin(async move { client.resolve(request).await })
        })
    }
}

impl Cluster for AgentCluster {
    fn pod(&self, pod: &PodRef) -> Result<Pod, ClusterError> {
        let answer = match self.resolve(Some(pod), &[], &[])? {
            Answer::AskInstead(api) => return api.pod(pod),
            Answer::OfAgent(answer) => answer,
        };
        let found = answer.pod.map(wire::from_pod);
        let found = found.ok_or_else(|| unfit("no pod"))?;
        check_uid(pod, &found)?;
        if let Some(Ok(policies)) = answer.policies.map(wire::from_policies) {
            self.keep_policies(policies);
        }
        let mut kept = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, nad) in answer.networks.into_iter().filter_map(wire::from_answer) {
            // Why another is not known is asked again if it is wanted: it may have come by then.
            if let Ok(nad) = nad {
                kept.insert(name, nad);
            }
        }
        Ok(found)
    }

    fn networks(&self, names: &[NadName]) -> Vec<Result<Nad, ClusterError>> {
        let kept = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: BTreeMap<&NadName, Result<Nad, ClusterError>> = BTreeMap::new();
        for name in names {
            if let Some(nad) = kept.get(name) {
                found.insert(name, Ok(nad.clone()));
            }
        }
        drop(kept);
        let missing: Vec<NadName> = names
            .iter()
            .filter(|name| !found.contains_key(name))
            .cloned()
            .collect();
        let mut rest = if missing.is_empty() {
            Vec::new()
        } else {
            self.ask_networks(&missing)
        }
        .into_iter();
        names
            .iter()
            .map(|name| match found.get(name) {
                Some(Ok(nad)) => Ok(nad.clone()),
                _ => rest
                    .next()
                    .unwrap_or_else(|| Err(unfit("too few networks"))),
            })
            .collect()
    }

    fn policies(&self, namespaces: &[String]) -> Result<Vec<Vec<Policy>>, ClusterError> {
        if let Some(known) = self.kept_policies(namespaces) {
            return Ok(known);
        }
        let answer = match self.resolve(None, &[], namespaces)? {
            Answer::AskInstead(api) => return api.policies(namespaces),
            Answer::OfAgent(answer) => answer,
        };
        let answer = answer
            .policies
            .ok_or_else(|| unfit("no AttachmentPolicies: it is older than meta-cni"));
        self.keep_policies(wire::from_policies(answer?)?);
        self.kept_policies(namespaces)
            .ok_or_else(|| unfit("too few namespaces"))
    }

    fn report(
        &self,
        pod: &Pod,
        network_status: Option<&str>,
        events: &[Event],
    ) -> Result<(), ClusterError> {
        let request = ReportRequest {
            pod: Some(wire::to_pod_ref(&pod.reference())),
            network_status: network_status.map(str::to_owned),
            events: events.iter().map(wire::to_event).collect(),
        };
        let call = |mut client: Client| -> BoxFuture<'static, _> {
            let mut request = Request::new(request.clone());
            trace::mark(&mut request);
            Box::pin(async move { client.report(request).await })
        };
        let answer = match network_status {
            Some(_) => self.ask(&call)?,
            None => self.ask_within(Duration::ZERO, REPORT_LIMIT.min(self.call_limit), &call)?,
        };
        match answer {
            Answer::OfAgent(ReportResponse {}) => Ok(()),
            Answer::AskInstead(api) => api.report(pod, network_status, events),
        }
    }

    fn ready(&self, limit: Duration) -> Result<(), ClusterError> {
        match (self.agent_status(limit), &self.fallback) {
            (Ok(_), _) => Ok(()),
            (Err(_), Some(api)) => api.ready(limit),
            (Err(error), None) => Err(error),
        }
    }
}

impl AgentCluster {
    fn keep_policies(&self, policies: Vec<(String, Vec<Policy>)>) {
        let mut kept = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(policies);
    }

    /// The policies of each of the namespaces, if all are known.
    fn kept_policies(&self, namespaces: &[String]) -> Option<Vec<Vec<Policy>>> {
        let kept = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        namespaces
            .iter()
            .map(|name| kept.get(name).cloned())
            .collect()
    }

    fn ask_networks(&self, names: &[NadName]) -> Vec<Result<Nad, ClusterError>> {
        match self.resolve(None, names, &[]) {
            Ok(Answer::AskInstead(api)) => api.networks(names),
            Ok(Answer::OfAgent(answer)) => {
                let answers = answer.networks.into_iter();
                answers
                    .map(|answer| match wire::from_answer(answer) {
                        Some((_, found)) => found,
                        None => Err(unfit("a network without a name")),
                    })
                    .collect()
            }
            Err(error) => names.iter().map(|_| Err(self.again(&error))).collect(),
        }
    }

    /// The same failure for each of several questions.
    fn again(&self, error: &ClusterError) -> ClusterError {
        wire::from_status(&wire::to_status(error)).unwrap_or_else(|| unfit("an error"))
    }
}

/// The agent answered something that does not fit the question: it has another version, or a fault.
fn unfit(what: &'static str) -> ClusterError {
    ClusterError::Invalid {
        what: "the agent's answer".to_owned(),
        remedy: None,
        source: what.into(),
    }
}
