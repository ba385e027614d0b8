//! For tests: a server on a unix socket, and an agent that has only a status.

use std::path::Path;

use proto::agent::v1::agent_service_server::{AgentService, AgentServiceServer};
use proto::agent::v1::{
    GetStatusRequest, GetStatusResponse, ReportRequest, ReportResponse, ResolveRequest,
    ResolveResponse,
};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Serves until the runtime is dropped.
pub(crate) fn serve(socket: &Path, services: Routes) -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = {
        let _entered = runtime.enter();
        UnixListener::bind(socket).unwrap()
    };
    let server = Server::builder().add_routes(services);
    runtime.spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    runtime
}

/// An agent that answers GetStatus so, and nothing else.
pub(crate) fn agent(status: GetStatusResponse) -> Routes {
    Routes::new(AgentServiceServer::new(Agent(status)))
}

struct Agent(GetStatusResponse);

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
        Ok(Response::new(self.0.clone()))
    }
}
