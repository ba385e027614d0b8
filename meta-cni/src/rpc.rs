//! A gRPC connection to a Unix socket, for a process that lives for one call; and calls of services whose messages are
//! written by hand.

use std::io;
use std::path::Path;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// The largest answer that is taken: one that lists every pod of a node (kubelet's clients take as much).
const ANSWER_BYTES: usize = 16 << 20;

/// A socket that cannot be connected to.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What listens there does not speak gRPC.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

/// Connects to the socket at `path`; and again, by itself, for a call that finds the connection broken.
///
/// # Errors
/// [`DialError`].
pub async fn unix_channel(path: &Path) -> Result<Channel, DialError> {
    // Made before the channel, so that its error is reported as it is; the address names nothing.
    let mut first = Some(UnixStream::connect(path).await?);
    let path = path.to_owned();
    let connector = tower::service_fn(move |_: http::Uri| {
        let (first, path) = (first.take(), path.clone());
        async move {
            match first {
                Some(stream) => Ok(stream),
                None => UnixStream::connect(path).await,
            }
            .map(TokioIo::new)
        }
    });
    let endpoint =
        Endpoint::from_static("http://localhost").http2_max_header_list_size(dial::HEADER_BYTES);
    Ok(endpoint.connect_with_connector(connector).await?)
}

/// Makes one call.
///
/// # Errors
/// The server's answer, or UNAVAILABLE if the connection broke.
pub async fn unary<Question, Answer>(
    channel: Channel,
    path: PathAndQuery,
    question: Question,
) -> Result<Answer, Status>
where
    Question: prost::Message + 'static,
    Answer: prost::Message + Default + 'static,
{
    let mut server = Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES);
    server
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = tonic_prost::ProstCodec::<Question, Answer>::default();
    let answer = server.unary(Request::new(question), path, codec).await?;
    Ok(answer.into_inner())
}
