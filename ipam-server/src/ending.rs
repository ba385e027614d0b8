//! A layer that ends, when the server stops, the streams that would not end by themselves: those of health and of
//! reflection. A stream of ipam.v1 ends by itself, with a reason.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{oneshot, watch};
use tonic::Status;
use tonic::body::Body as Whole;
use tower::{Layer, Service};

use crate::error::Error;

/// The methods whose answers go on until somebody ends them.
const STREAMS: [&str; 3] = [
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Ends streams once the value is true.
#[derive(Clone)]
pub struct EndStreams(pub watch::Receiver<bool>);

/// See [`EndStreams`].
#[derive(Clone)]
pub struct Ends<S> {
    inner: S,
    stopping: watch::Receiver<bool>,
}

/// The caller's stream. It ends once the answer is dropped: a service that still reads the stream would keep the connection open.
struct CallerStream {
    inner: Whole,
    answer: oneshot::Receiver<()>,
}

/// An answer that may end before its time.
pub struct Ending<B> {
    inner: B,
    /// None for an answer that ends by itself.
    early: Option<EarlyEnd>,
    ended: bool,
}

/// How an answer ends early.
struct EarlyEnd {
    /// Ready once it is to end.
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Dropped with the answer, for [`CallerStream`].
    _answering: oneshot::Sender<()>,
}

/// Ready once the value is true.
fn stopped(mut stopping: watch::Receiver<bool>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        // A sender that is gone stops as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    })
}

impl<S> Layer<S> for EndStreams {
    type Service = Ends<S>;

    fn layer(&self, inner: S) -> Ends<S> {
        let stopping = self.0.clone();
        Ends { inner, stopping }
    }
}

impl<S, R> Service<http::Request<Whole>> for Ends<S>
where
    S: Service<http::Request<Whole>, Response = http::Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = http::Response<Ending<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Whole>) -> Self::Future {
        let mut early = None;
        if STREAMS.contains(&request.uri().path()) {
            let (answering, answer) = oneshot::channel();
            request = request.map(|inner| Whole::new(CallerStream { inner, answer }));
            early = Some(EarlyEnd {
                stop: stopped(self.stopping.clone()),
                _answering: answering,
            });
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            Ok(answer.await?.map(|inner| Ending {
                inner,
                early,
                ended: false,
            }))
        })
    }
}

impl Body for CallerStream {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // Nothing is ever sent: ready means that the answer is dropped.
        if !self.answer.is_terminated() && Pin::new(&mut self.answer).poll(context).is_pending() {
            return Pin::new(&mut self.inner).poll_frame(context);
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_terminated() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Ending<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // What the answer has ready comes first: health says NOT_SERVING before its stream ends.
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if let Some(early) = &mut self.early
            && early.stop.as_mut().poll(context).is_ready()
        {
            self.ended = true;
            let mut trailers = HeaderMap::new();
            // What the status says is plain ASCII.
            let _ = Status::from(Error::Stopping).add_header(&mut trailers);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;
    use tonic::Code;

    use super::*;

    /// A body whose frames come from a channel, and the channel.
    fn open() -> (mpsc::UnboundedSender<Result<Frame<Bytes>, Status>>, Whole) {
        let (sender, frames) = mpsc::unbounded_channel();
        let frames = http_body_util::StreamBody::new(UnboundedReceiverStream::new(frames));
        (sender, Whole::new(frames))
    }

    #[tokio::test]
    async fn an_answer_that_is_ended_has_its_status_before_the_service_sees_the_end_of_the_question()
     {
        let (stop, stopping) = watch::channel(false);
        let (_caller_sends, question) = open();
        let (_service_answers, answer) = open();
        let (kept, mut questions) = mpsc::unbounded_channel();
        let answer = std::sync::Mutex::new(Some(answer));
        let service = tower::service_fn(move |request: http::Request<Whole>| {
            kept.send(request.into_body()).unwrap();
            let answer = answer.lock().unwrap().take().unwrap();
            std::future::ready(Ok::<_, Infallible>(http::Response::new(answer)))
        });
        let mut service = EndStreams(stopping).layer(service);
        let mut request = http::Request::new(question);
        *request.uri_mut() = http::Uri::from_static(STREAMS[1]);
        let mut answer = service.call(request).await.unwrap().into_body();
        let mut question = questions.recv().await.unwrap();

        stop.send_replace(true);
        let pending = std::future::poll_fn(|context| {
            Poll::Ready(Pin::new(&mut question).poll_frame(context).is_pending())
        });
        assert!(
            pending.await,
            "the service would end the answer itself, as one that succeeded"
        );
        let trailers = answer
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_trailers()
            .unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(answer.frame().await.is_none());
        drop(answer);
        assert!(question.frame().await.is_none());
    }
}
