//! What a server shows of itself: the ready file, and its pages over HTTP.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::IpamServer;

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The status code.
    pub status: u16,
    /// The header Content-Type; empty: none.
    pub content_type: String,
    /// The text.
    pub body: String,
}

impl Page {
    /// The text of a page of metrics.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn metrics(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(self.content_type, kind);
        &self.body
    }
}

impl IpamServer {
    /// Where `/metrics` is.
    ///
    /// # Panics
    /// When the server does not serve.
    pub fn metrics_address(&self) -> SocketAddr {
        let ready = self.ready();
        let text = ready["metrics"].as_str().expect("an address");
        text.parse().expect("an address and a port")
    }

    /// Where it listens on TCP, if it does.
    ///
    /// # Panics
    /// When the server does not listen on TCP.
    pub fn tcp_address(&self) -> SocketAddr {
        let ready = self.ready();
        let listen = ready["listen"].as_array().expect("a list").iter();
        let mut words = listen.filter_map(|at| at.as_str()?.strip_prefix("tcp://"));
        let text = words.next().expect("an address on TCP");
        text.parse().expect("an address and a port")
    }

    /// Asks for a page.
    ///
    /// # Panics
    /// As [`get`].
    #[track_caller]
    pub fn page(&self, path: &str) -> Page {
        get(self.metrics_address(), "GET", path)
    }

    fn ready(&self) -> Value {
        let text = fs::read_to_string(self.ready_file()).expect("read the ready file");
        serde_json::from_str(&text).expect("the ready file is JSON")
    }
}

/// Asks for a page at an address.
///
/// # Panics
/// When nobody answers, or not in HTTP.
#[track_caller]
pub fn get(at: SocketAddr, method: &str, path: &str) -> Page {
    let mut stream = TcpStream::connect(at).expect("connect");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"
    )
    .expect("ask");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read the answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("an empty line");
    let status = head.split(' ').nth(1).expect("a status");
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let found = name.eq_ignore_ascii_case("content-type");
        found.then(|| value.trim().to_owned())
    };
    Page {
        status: status.parse().expect("a number"),
        content_type: head.lines().find_map(field).unwrap_or_default(),
        body: body.to_owned(),
    }
}
