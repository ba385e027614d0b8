//! agent.v1: questions answered from the index, else from the API server; reports passed on to it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use meta_cni::cluster::agent::wire;
use meta_cni::cluster::{
    ClusterError, GRANT_RIGHTS, NETWORK_STATUS, Nad, NadName, Pod, PodRef, check_uid,
};
use meta_cni::device::DeviceSource;
use meta_cni::diagnosis::{Diagnosis, Explain as _};
use meta_cni::{limits, selection};
use proto::agent::v1::agent_service_server::AgentService;
use proto::agent::v1::{
    GetStatusRequest, GetStatusResponse, ReportRequest, ReportResponse, ResolveRequest,
    ResolveResponse, Watch,
};
use tonic::{Code, Request, Response, Status};

use super::api::Api;
use super::blocking;
use super::events::Events;
use super::index::{Index, Kind};
use super::metrics::{InFlight, Metrics, code_name};
use super::missing::Missing;
use super::watch::States;

/// How long the agent waits for a pod that it does not have: the runtime knows the pod, so it must appear.
const POD_WAIT: Duration = Duration::from_secs(2);
/// Networks that one question may name (agent.v1).
const NETWORKS: usize = 1024;
/// Events that one report may have (agent.v1).
const EVENTS: usize = 256;

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Service {
    pub(super) node: Arc<str>,
    pub(super) index: Arc<Index>,
    pub(super) states: States,
    pub(super) api: Api,
    pub(super) events: Events,
    pub(super) devices: DeviceSource,
    pub(super) metrics: Metrics,
    pub(super) missing: Missing,
    pub(super) ipam_server: Arc<str>,
}

impl Service {
    async fn find(&self, request: ResolveRequest) -> Result<ResolveResponse, Status> {
        if request.networks.len() > NETWORKS {
            return Err(Status::invalid_argument(format!(
                "networks: at most {NETWORKS}"
            )));
        }
        if request.policy_namespaces.len() > NETWORKS {
            return Err(Status::invalid_argument(format!(
                "policy_namespaces: at most {NETWORKS}"
            )));
        }
        let mut names: Vec<NadName> = request.networks.into_iter().map(wire::from_name).collect();
        let mut pod = match request.pod {
            Some(pod) => Some(self.pod(&wire::from_pod_ref(pod)).await?),
            None => None,
        };
        if let Some(pod) = &pod {
            let asked: BTreeSet<NadName> = names.iter().cloned().collect();
            names.extend(named_by(pod).difference(&asked).cloned());
        }
        let policies = self.policies(pod.as_ref(), &names, &request.policy_namespaces);
        let found = join_all(names.iter().map(|name| self.network(name))).await;
        if let Some(pod) = &mut pod {
            let needs_devices = found
                .iter()
                .flatten()
                .any(|nad| nad.resource_name.is_some());
            if needs_devices {
                pod.devices = self.devices(pod).await;
            }
        }
        Ok(ResolveResponse {
            pod: pod.map(wire::to_pod),
            networks: names
                .iter()
                .zip(found)
                .map(|(name, found)| wire::to_answer(name, found))
                .collect(),
            policies: Some(policies),
        })
    }

    /// The pod from memory, if it is the one that is meant; else as the API server has it now.
    async fn pod(&self, asked: &PodRef) -> Result<Pod, Status> {
        let known = self.index.pod(&asked.namespace, &asked.name);
        if let Some(pod) = &known
            && check_uid(asked, pod).is_ok()
        {
            return Ok(Pod::clone(pod));
        }
        let found = self.api.connection().pod(asked, POD_WAIT).await;
        match (found, known) {
            // It may be what brings the API server back.
            (Err(error), Some(known)) if error.is_transient() && known.is_static() => {
                let error = error.diagnosis();
                tracing::warn!(pod = %asked, %error, "a static pod is taken as it was before its manifest changed");
                Ok(Pod::clone(&known))
            }
            (found, _) => found
                .and_then(|pod| check_uid(asked, &pod).map(|()| pod))
                .and_then(|pod| self.of_this_node(pod))
                .map_err(|error| wire::to_status(&error)),
        }
    }

    /// The pod, if it is on this node: the agent answers for no other pod.
    fn of_this_node(&self, pod: Pod) -> Result<Pod, ClusterError> {
        match pod.node == *self.node {
            true => Ok(pod),
            false => Err(ClusterError::NotFound {
                what: format!("pod {}/{} on node {}", pod.namespace, pod.name, self.node),
            }),
        }
    }

    /// Whether a report is about a pod of this node; the agent asks the API server for a pod that the watch does not have yet.
    async fn check_reported(&self, pod: &PodRef) -> Result<(), Status> {
        let known = self.index.pod(&pod.namespace, &pod.name);
        if known.is_some_and(|known| pod.uid.as_deref() == Some(&known.uid)) {
            return Ok(());
        }
        let found = self.api.connection().pod(pod, Duration::ZERO).await;
        let found = found
            .and_then(|found| check_uid(pod, &found).map(|()| found))
            .and_then(|found| self.of_this_node(found));
        found.map(drop).map_err(|error| wire::to_status(&error))
    }

    /// The network from memory, else as the API server has it now.
    async fn network(&self, name: &NadName) -> Result<Nad, ClusterError> {
        match self.index.network(name) {
            Some(known) => known,
            None => {
                let connection = self.api.connection();
                self.missing.or_ask(name, connection.network(name)).await
            }
        }
    }

    /// The policies of all namespaces that a question is about, from memory.
    fn policies(
        &self,
        pod: Option<&Pod>,
        names: &[NadName],
        asked: &[String],
    ) -> proto::agent::v1::Policies {
        let of_pod = pod.map(|pod| pod.namespace.as_str());
        let of_networks = names.iter().map(|name| name.namespace.as_str());
        let asked = asked.iter().map(String::as_str);
        let namespaces: BTreeSet<&str> =
            of_pod.into_iter().chain(of_networks).chain(asked).collect();
        let found = self.index.policies(namespaces.into_iter());
        wire::to_policies(found.map_err(|problem| ClusterError::Forbidden {
            what: "list attachmentpolicies and namespaces".to_owned(),
            remedy: problem.remedy.unwrap_or_else(|| GRANT_RIGHTS.to_owned()),
            source: problem.cause.into(),
        }))
    }

    /// What the kubelet gave to the pod; nothing if it cannot be asked: meta-cni then asks itself.
    async fn devices(&self, pod: &Pod) -> Option<meta_cni::cluster::Allocations> {
        let (source, pod) = (self.devices.clone(), pod.clone());
        let asked = blocking(move || source.allocations(&pod)).await;
        asked
            .inspect_err(|error| {
                tracing::warn!(%error, "the devices of a pod are left to meta-cni");
            })
            .ok()
    }

    async fn take(&self, request: ReportRequest) -> Result<ReportResponse, Status> {
        let pod = request
            .pod
            .map(wire::from_pod_ref)
            .filter(|pod| pod.uid.is_some())
            .ok_or_else(|| Status::invalid_argument("pod: give namespace, name and uid"))?;
        if request.events.len() > EVENTS {
            return Err(Status::invalid_argument(format!(
                "events: at most {EVENTS}"
            )));
        }
        let events = request.events.into_iter().map(|event| {
            let reason = event.reason.clone();
            wire::from_event(event)
                .ok_or_else(|| Status::invalid_argument(format!("events: no reason {reason:?}")))
        });
        let events = events.collect::<Result<Vec<_>, Status>>()?;
        self.check_reported(&pod).await?;
        if let Some(status) = request.network_status {
            self.write_status(&pod, &status)
                .await
                .map_err(|error| wire::to_status(&error))?;
        }
        // No Event reports interfaces that are undone because network-status cannot be written.
        for event in events {
            self.events.post(pod.clone(), event);
        }
        Ok(ReportResponse {})
    }

    /// Writes network-status unless the pod has it.
    pub(super) async fn write_status(
        &self,
        pod: &PodRef,
        status: &str,
    ) -> Result<(), ClusterError> {
        let uid = pod.uid.clone().unwrap_or_default();
        let known = self.index.pod(&pod.namespace, &pod.name);
        let known = known.filter(|known| known.uid == uid);
        let annotations = known
            .map(|known| known.annotations.clone())
            .unwrap_or_default();
        if annotations.get(NETWORK_STATUS).map(String::as_str) == Some(status) {
            return Ok(());
        }
        let target = Pod {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: uid.clone(),
            annotations,
            ..Pod::default()
        };
        self.api.connection().write_status(&target, status).await?;
        self.index
            .note_status(&pod.namespace, &pod.name, &uid, status);
        Ok(())
    }
}

/// The networks that the pod's annotations name, as far as they can be read: what is wrong with them, meta-cni says. Of a
/// pod that names more than it may, none.
fn named_by(pod: &Pod) -> BTreeSet<NadName> {
    let elements = |annotation| {
        let text = pod.annotations.get(annotation);
        let named = text.and_then(|text| selection::parse(text).ok());
        named
            .filter(|named| named.len() <= limits::NETWORKS)
            .unwrap_or_default()
    };
    let selected = elements(selection::NETWORKS).into_iter().map(|element| {
        let namespace = element.namespace.unwrap_or_else(|| pod.namespace.clone());
        (namespace, element.name)
    });
    // Where an unqualified default network is, the plugin's configuration says.
    let default = elements(selection::DEFAULT_NETWORK)
        .into_iter()
        .filter_map(|element| Some((element.namespace?, element.name)));
    selected
        .chain(default)
        .take(NETWORKS)
        .map(|(namespace, name)| NadName { namespace, name })
        .collect()
}

/// Counts how a call ends.
fn ended<T>(mut call: InFlight, answer: Result<T, Status>) -> Result<Response<T>, Status> {
    call.ends(code_name(match &answer {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }));
    answer.map(Response::new)
}

#[tonic::async_trait]
impl AgentService for Service {
    async fn resolve(
        &self,
        request: Request<ResolveRequest>,
    ) -> Result<Response<ResolveResponse>, Status> {
        let call = self.metrics.call("Resolve");
        ended(call, self.find(request.into_inner()).await)
    }

    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportResponse>, Status> {
        let call = self.metrics.call("Report");
        ended(call, self.take(request.into_inner()).await)
    }

    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let watch = |kind: Kind| {
            let problem = self.states.of(kind).problem;
            let Diagnosis { cause, remedy } = problem.clone().unwrap_or_default();
            Watch {
                kind: kind.as_str().to_owned(),
                objects: self.index.count(kind).try_into().unwrap_or(u64::MAX),
                connected: problem.is_none(),
                problem: cause,
                remedy: remedy.unwrap_or_default(),
            }
        };
        Ok(Response::new(GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.to_string(),
            watches: Kind::ALL.map(watch).into(),
            in_flight: self.metrics.calls_in_flight(),
            ipam_server: self.ipam_server.to_string(),
        }))
    }
}
