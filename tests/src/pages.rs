//! What a server tells over HTTP: its pages, and single metrics.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::Value;

/// What an HTTP GET of a page answers, head included, of the server whose ready file names its address as `metrics`.
///
/// # Panics
/// When it does not answer.
pub fn page(ready_file: &Path, path: &str) -> String {
    let ready = fs::read(ready_file).expect("it serves");
    let ready: Value = serde_json::from_slice(&ready).expect("the ready file is JSON");
    let address = ready["metrics"].as_str().expect("an address");
    let mut stream = TcpStream::connect(address).expect("connect to the pages");
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("send a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read an answer");
    answer
}

/// The value of one series on `/metrics`, by its name and labels as they stand there; 0 if it is not there yet.
///
/// # Panics
/// When the server does not answer.
pub fn metric(ready_file: &Path, series: &str) -> f64 {
    let page = page(ready_file, "/metrics");
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}
