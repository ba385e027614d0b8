//! An agent that appears while an installer waits for it.

use std::fs;
use std::thread;

use proto::agent::v1::agent_service_server::{AgentService, AgentServiceServer};
use proto::agent::v1::{
    GetStatusRequest, GetStatusResponse, ReportRequest, ReportResponse, ResolveRequest,
    ResolveResponse,
};
use tokio::runtime::Runtime;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use super::super::Outcome;
use super::node::{CALICO, Node, OURS};

const SOCKET: &str = "/run/meta-cni/agent.sock";

/// An agent that has only a status.
struct Agent;

#[tonic::async_trait]
impl AgentService for Agent {
    async fn resolve(
        &self,
        _: Request<ResolveRequest>,
    ) -> Result<Response<ResolveResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(GetStatusResponse::default()))
    }
}

/// Serves until the runtime is dropped.
fn serve(node: &Node) -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = {
        let _entered = runtime.enter();
        tokio::net::UnixListener::bind(node.here(SOCKET)).unwrap()
    };
    let server = tonic::transport::Server::builder().add_service(AgentServiceServer::new(Agent));
    runtime.spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    runtime
}

#[test]
fn the_configuration_is_written_once_the_agent_answers() {
    let node = Node::new().with("/etc/cni/net.d/10-calico.conflist", CALICO);
    fs::create_dir_all(node.here("/run/meta-cni")).unwrap();
    thread::scope(|scope| {
        let installer = scope.spawn(|| node.install_with_agent(&["--wait-seconds=3600"]));
        // The executables come before the wait.
        while !node.here("/opt/cni/bin/meta-ipam").exists() {
            thread::yield_now();
        }
        assert!(!node.here(OURS).exists());
        let _agent = serve(&node);
        assert_eq!(installer.join().unwrap().0.unwrap(), Outcome::Done);
    });
    let plugin = &node.conf()["plugins"][0];
    assert_eq!(plugin["agentSocket"], SOCKET);
    assert_eq!(plugin["agentTimeoutSeconds"], 60);
}
