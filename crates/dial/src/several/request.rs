//! A call over HTTP/2 that can be sent again: its head and its one message.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};

/// The longest message that is kept: as long as ipam-server takes.
const MESSAGE_BYTES: usize = 5 << 20;

/// A call that can be sent again.
#[derive(Clone, Debug)]
pub struct Repeated {
    head: Request<()>,
    message: Bytes,
}

/// The call's message cannot be read to its end: the caller has gone, or it is too long.
#[derive(Debug, thiserror::Error)]
#[error("the request cannot be read to its end")]
pub struct Unread(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Repeated {
    /// Reads a request to its end.
    ///
    /// # Errors
    /// [`Unread`].
    pub async fn read<B>(request: Request<B>) -> Result<Repeated, Unread>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MESSAGE_BYTES).collect().await;
        Ok(Repeated {
            head: Request::from_parts(head, ()),
            message: body.map_err(Unread)?.to_bytes(),
        })
    }

    /// Its head.
    pub fn headers(&self) -> &HeaderMap {
        self.head.headers()
    }

    /// The request once more.
    pub fn request(&self) -> Request<Full<Bytes>> {
        self.head.clone().map(|()| Full::new(self.message.clone()))
    }
}

/// Whether the head of an answer says that the server is of no use now: UNAVAILABLE, and no message.
pub fn is_unavailable(head: &HeaderMap) -> bool {
    /// google.rpc.Code
    const UNAVAILABLE: &[u8] = b"14";
    head.get("grpc-status")
        .is_some_and(|status| status.as_bytes() == UNAVAILABLE)
}

/// How long a caller waits, as the head of its request says (gRPC over HTTP/2, Timeout); none: for ever.
pub fn time_limit(head: &HeaderMap) -> Option<Duration> {
    let text = head.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_is_sent_again_as_it_was() {
        let request = Request::post("http://h/a.B/C").header("te", "trailers");
        let request = request.body(Full::new(Bytes::from_static(b"abc"))).unwrap();
        let repeated = Repeated::read(request).await.unwrap();
        for _ in 0..2 {
            let again = repeated.request();
            assert_eq!(again.uri(), "http://h/a.B/C");
            assert_eq!(again.headers()["te"], "trailers");
            assert_eq!(again.into_body().collect().await.unwrap().to_bytes(), "abc");
        }
        let long = Request::new(Full::new(Bytes::from(vec![0; MESSAGE_BYTES + 1])));
        assert!(Repeated::read(long).await.is_err());
    }

    #[test]
    fn a_time_limit_is_read_in_every_unit() {
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7200))),
            ("3M", Some(Duration::from_secs(180))),
            ("4S", Some(Duration::from_secs(4))),
            ("4998m", Some(Duration::from_millis(4998))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("5", None),
        ] {
            let mut head = HeaderMap::new();
            head.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(time_limit(&head), expected, "{text:?}");
        }
        assert_eq!(time_limit(&HeaderMap::new()), None);
    }

    #[test]
    fn only_an_answer_of_unavailable_makes_a_server_be_of_no_use() {
        for (status, expected) in [("0", false), ("14", true), ("8", false), ("4", false)] {
            let mut head = HeaderMap::new();
            head.insert("grpc-status", status.parse().unwrap());
            assert_eq!(is_unavailable(&head), expected);
        }
        assert!(!is_unavailable(&HeaderMap::new()));
    }
}
