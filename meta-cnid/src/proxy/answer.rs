//! The answer to a call on its way back: frame by frame as the caller takes them, so that one who is slow holds up his
//! own answer only. One that breaks off ends with a status that says why, and so does a stream when the agent ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use dial::address::Address;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Response};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Status};

use super::metrics::Call;

/// The trailer, or head of a call without messages, that says how a call ended.
const GRPC_STATUS: &str = "grpc-status";

/// A stream's room among the streams, and when it is to be ended.
pub(super) type Open = (OwnedSemaphorePermit, BoxFuture<'static, ()>);

/// The body of an answer.
pub(super) struct Answer {
    body: Incoming,
    call: Call,
    server: Address,
    open: Option<Open>,
    is_over: bool,
}

impl Answer {
    /// The answer that `server` has begun.
    pub(super) fn back(
        answer: Response<Incoming>,
        mut call: Call,
        server: Address,
        open: Option<Open>,
    ) -> Response<Answer> {
        if let Some(code) = code(answer.headers()) {
            call.will_end(code);
        }
        answer.map(|body| Answer {
            body,
            call,
            server,
            open,
            is_over: false,
        })
    }

    /// The last frame, with this status.
    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.is_over = true;
        self.call.will_end(status.code());
        let mut trailers = HeaderMap::new();
        if let Err(unfit) = status.add_header(&mut trailers) {
            tracing::error!(%unfit, "a status that is no trailer");
        }
        Frame::trailers(trailers)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some((_, stop)) = &mut self.open
            && stop.poll_unpin(context).is_ready()
        {
            let ending = Status::unavailable("meta-cnid ends; go on with the next one");
            return Poll::Ready(Some(Ok(self.end(&ending))));
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code) {
                    self.call.will_end(code);
                }
                frame
            }
            Some(Err(error)) => {
                let broken = broken(self.server.as_str(), &error);
                self.end(&broken)
            }
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The error of a call whose connection breaks.
pub(super) fn broken(server: &str, error: &hyper::Error) -> Status {
    let why = cni::error::with_causes(error);
    Status::unavailable(format!(
        "ipam-server at {server} closed the connection before it had answered: {why}"
    ))
}

fn code(headers: &HeaderMap) -> Option<Code> {
    let status = headers.get(GRPC_STATUS)?;
    Some(Code::from_bytes(status.as_bytes()))
}
