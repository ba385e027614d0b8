//! The gRPC services of a server, the layers around them, and serving them over connections.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use proto::ipam::v1::admin_service_server::AdminServiceServer;
use proto::ipam::v1::lease_service_server::LeaseServiceServer;
use proto::ipam::v1::pool_service_server::PoolServiceServer;
use proto::ipam::v1::reservation_service_server::ReservationServiceServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic_health::server::HealthReporter;
use tower::layer::util::{Identity, Stack};

use super::ServerError;
use crate::access::layer::Authorize;
use crate::config::Config;
use crate::ending::EndStreams;
use crate::measure::Measure;
use crate::metrics::Metrics;
use crate::service::Service;

/// The largest message that is taken: an import of 1000 items fits.
const MESSAGE_BYTES: usize = 4 << 20;
/// How often a silent connection is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// All services, health and reflection among them.
pub(super) fn routes(service: Service) -> Result<(HealthReporter, Routes), ServerError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::IPAM_DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let failed = |source| ServerError::Serve {
        what: "reflection".into(),
        source: Box::new(source),
    };
    let routes = Routes::new(health)
        .add_service(reflection().build_v1().map_err(failed)?)
        // Python's client speaks only this one.
        .add_service(reflection().build_v1alpha().map_err(failed)?)
        .add_service(
            PoolServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_BYTES),
        )
        .add_service(
            LeaseServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_BYTES),
        )
        .add_service(
            ReservationServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_BYTES),
        )
        .add_service(AdminServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES));
    Ok((reporter, routes.prepare()))
}

pub(super) type Layers = Stack<Authorize, Stack<Measure, Stack<EndStreams, Identity>>>;

pub(super) fn builder(
    config: &Config,
    authorize: Authorize,
    metrics: &Arc<Metrics>,
    stopping: &watch::Receiver<bool>,
) -> Server<Layers> {
    let ends = EndStreams(stopping.clone());
    Server::builder()
        .concurrency_limit_per_connection(config.max_concurrent_per_connection)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .layer(ends)
        .layer(Measure(metrics.clone()))
        // Behind the measure, so that refusals are measured, too.
        .layer(authorize)
}

pub(super) async fn serve<Io>(
    mut server: Server<Layers>,
    connections: impl Stream<Item = std::io::Result<Io>> + Send + 'static,
    routes: Routes,
    mut stopping: watch::Receiver<bool>,
    what: String,
) -> Result<(), ServerError>
where
    Io: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let stop = async move {
        // A sender that is gone stops as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let router = server.add_routes(routes);
    let served = router.serve_with_incoming_shutdown(connections, stop).await;
    served.map_err(|source| ServerError::Serve {
        what,
        source: Box::new(source),
    })
}
