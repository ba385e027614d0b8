//! The parts of an agent, each started as a task of [`Parts`] with what it needs.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use process::socket::Unpublished;
use prometheus_client::registry::Registry;
use proto::agent::v1::agent_service_server::AgentServiceServer;
use tokio::sync::{oneshot, watch as signal};
use tonic::transport::Server;

use super::api::Api;
use super::config::Arguments;
use super::deletions::{self, Failing};
use super::index::Index;
use super::parts::{Ended, Parts, ended};
use super::proxy::{self, Keepers, Proxy};
use super::releases::{self, Waiting};
use super::service::Service;
use super::traces::{self, WrongEndpoint};
use super::watch::{self, States};
use super::{accepted, held, operations, orphans, repair, taint};

/// Serves ipam.v1; from now on, whether or not the API server answers. An older agent that does so goes on until this one
/// has reached ipam-server.
pub(super) fn start_proxy(
    parts: &mut Parts,
    socket: Unpublished,
    (proxy, keepers): (Proxy, Keepers),
) {
    let (give, listener) = oneshot::channel();
    let own = proxy.clone();
    parts.work(async move {
        if socket.is_taken().await {
            own.connected().await;
        }
        let (socket, listener) = socket.publish()?;
        // Nobody takes it if serving has failed, which is reported there.
        let _ = give.send(listener);
        Err(socket.keep_published().await.into())
    });
    parts.serve(async move {
        let listener = async {
            match listener.await {
                Ok(listener) => listener,
                // The task above reports why there is none.
                Err(_) => std::future::pending().await,
            }
        };
        let incoming = stream::once(listener).flat_map(accepted::of_root);
        let served = proxy::serve(proxy, keepers, incoming).await;
        ended("passing ipam.v1 on", served)
    });
}

/// Notes for meta-cni, whatever its configuration, that this node has an agent: also for when the agent is not running.
pub(super) fn announce_socket(arguments: &Arguments) {
    let (state_dir, socket) = (&arguments.state_dir, &arguments.socket);
    if let Err(error) = meta_cni::config::note_agent(state_dir, socket) {
        let file = state_dir.display();
        tracing::warn!(%file, %error, "the agent cannot note for meta-cni that this node has an agent");
    }
}

/// Reports what this node's records hold to each ipam-server that is connected to.
pub(super) fn start_reports(
    parts: &mut Parts,
    arguments: &Arguments,
    node: &Arc<str>,
    proxy: &Proxy,
) {
    let (state_dir, socket) = (arguments.state_dir.clone(), arguments.ipam_socket.clone());
    let (node, connections) = (Arc::clone(node), proxy.connections());
    parts.work(async move { match held::run(state_dir, socket, node, connections).await {} });
}

/// Delivers releases that wait on this node.
pub(super) fn start_deliveries(parts: &mut Parts, arguments: &Arguments, waiting: Waiting) {
    let state_dir = arguments.state_dir.clone();
    parts.work(async move { match releases::run(state_dir, waiting).await {} });
}

/// Counts the sandboxes of this node that could not be deleted.
pub(super) fn count_deletions(parts: &mut Parts, arguments: &Arguments, failing: Failing) {
    let state_dir = arguments.state_dir.clone();
    parts.work(async move { match deletions::run(state_dir, failing).await {} });
}

/// Reports what meta-cni does on this node: as metrics, and as traces if a collector is configured.
pub(super) fn count_operations(
    parts: &mut Parts,
    arguments: &Arguments,
    node: &Arc<str>,
    registry: &mut Registry,
) -> Result<(), WrongEndpoint> {
    let counts = operations::Counts::register(registry);
    let mut spans = None;
    if let Some(endpoint) = &arguments.otlp_endpoint {
        let (into, exporter) = traces::new(endpoint, Arc::clone(node), registry)?;
        spans = Some(into);
        parts.work(async move { match traces::run(exporter).await {} });
    }
    let state_dir = arguments.state_dir.clone();
    parts.work(async move {
        operations::run(state_dir, counts, spans).await;
        Ok(())
    });
    Ok(())
}

/// Follows the API server, with whatever credentials are there.
pub(super) fn start_watches(
    parts: &mut Parts,
    api: &Api,
    node: &Arc<str>,
    index: &Arc<Index>,
    states: &States,
) {
    let all = || (api.clone(), Arc::clone(index), states.clone());
    let (api, index, states) = all();
    let node = Arc::clone(node);
    parts.work(async move {
        watch::pods(api.client(), &node, &index, &states).await;
        Ok(())
    });
    let (api, index, states) = all();
    parts.work(async move {
        watch::networks(api.client(), &index, &states).await;
        Ok(())
    });
    let (api, index, states) = all();
    parts.work(async move {
        watch::namespaces(api.client(), &index, &states).await;
        Ok(())
    });
    let (api, index, states) = all();
    parts.work(async move {
        watch::policies(api.client(), &index, &states).await;
        Ok(())
    });
    let (api, ..) = all();
    parts.work(async move {
        api.renew().await;
        Ok(())
    });
}

/// Removes the taint that keeps pods off this node, once meta-cni is installed.
pub(super) fn start_untainting(
    parts: &mut Parts,
    api: &Api,
    node: &Arc<str>,
    arguments: &Arguments,
) {
    let Some(conf) = arguments.untaint_once.clone() else {
        return;
    };
    let (client, node) = (api.client(), Arc::clone(node));
    parts.work(async move {
        taint::run(client, &node, conf).await;
        Ok(())
    });
}

/// Compares what is recorded on this node with what is there.
pub(super) fn start_repairs(parts: &mut Parts, arguments: &Arguments, service: &Service) {
    let interval = arguments.repair_interval_seconds;
    let state_dir = &arguments.state_dir;
    if let Some(socket) = &arguments.cri_socket {
        let check = orphans::Check {
            cri_socket: socket.clone(),
            state_dir: state_dir.clone(),
            interval,
            grace: arguments.orphan_grace_seconds,
        };
        let metrics = service.metrics.clone();
        parts.work(async move {
            orphans::run(check, metrics).await;
            Ok(())
        });
    }
    let (service, state_dir) = (service.clone(), state_dir.clone());
    parts.work(async move {
        repair::run(service, state_dir, interval).await;
        Ok(())
    });
}

pub(super) async fn answer(
    service: Service,
    listener: tokio::net::UnixListener,
    mut stopping: signal::Receiver<bool>,
) -> Ended {
    let stop = async move {
        // A sender that is gone stops as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let served = Server::builder()
        .add_service(AgentServiceServer::new(service))
        .serve_with_incoming_shutdown(accepted::of_root(listener), stop)
        .await;
    ended("serving agent.v1", served)
}
