//! Answers that a sound server never sends, or no answer at all.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::os::unix::net::UnixListener;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::server::NamedService;

use crate::harness::{Done, run};

/// A server with one answer for every method.
pub(crate) struct Canned {
    folder: TempDir,
    // The server ends with its threads, or with its socket.
    _server: Server,
}

enum Server {
    Answers(#[expect(dead_code, reason = "kept")] Runtime),
    Hangs(#[expect(dead_code, reason = "kept")] UnixListener),
}

const SOCKET: &str = "ipam.sock";

impl Canned {
    /// A server whose AdminService answers with these messages and OK.
    pub(crate) fn of_administration(messages: &[impl Message]) -> Canned {
        Canned::serve(Answer::<false>::new(messages))
    }

    /// A server whose LeaseService answers with these messages and OK.
    pub(crate) fn of_leases(messages: &[impl Message]) -> Canned {
        Canned::serve(Answer::<true>::new(messages))
    }

    fn serve<const LEASES: bool>(answer: Answer<LEASES>) -> Canned {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Runtime::new().expect("threads");
        let entered = runtime.enter();
        let socket = tokio::net::UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let server = tonic::transport::Server::builder()
            .add_service(answer)
            .serve_with_incoming(UnixListenerStream::new(socket));
        runtime.spawn(server);
        drop(entered);
        Canned {
            folder,
            _server: Server::Answers(runtime),
        }
    }

    /// A server that lets callers connect and answers nothing.
    pub(crate) fn silence() -> Canned {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        Canned {
            folder,
            _server: Server::Hangs(socket),
        }
    }

    /// The address of the server.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join(SOCKET).display())
    }

    pub(crate) fn run(&self, line: &str) -> Done {
        run(line, "", &[("IPAM_SERVER", &self.address())])
    }
}

/// A message as it is framed on the wire (gRPC over HTTP/2, "Length-Prefixed-Message").
fn frame(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).expect("a small message"));
    message.encode(&mut framed).expect("room grows");
    framed.freeze()
}

/// Messages, and a service that sends them: of leases, or the one for administration.
#[derive(Clone)]
struct Answer<const LEASES: bool>(Vec<Bytes>);

impl<const LEASES: bool> Answer<LEASES> {
    fn new(messages: &[impl Message]) -> Answer<LEASES> {
        Answer(messages.iter().map(frame).collect())
    }
}

impl<const LEASES: bool> NamedService for Answer<LEASES> {
    const NAME: &'static str = match LEASES {
        true => "ipam.v1.LeaseService",
        false => "ipam.v1.AdminService",
    };
}

impl<const LEASES: bool> tower::Service<Request<Body>> for Answer<LEASES> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let messages = self.0.clone().into_iter().map(Frame::data);
        let frames = messages
            .chain([Frame::trailers(trailers)])
            .map(Ok::<_, Infallible>);
        let mut response = Response::new(Body::new(StreamBody::new(stream::iter(
            frames.collect::<Vec<_>>(),
        ))));
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", kind);
        ready(Ok(response))
    }
}
