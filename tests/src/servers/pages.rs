//! What a server serves over HTTP: its pages, and single metrics.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::Value;

/// What an HTTP GET of a page answers, head included, of the server whose ready file names its address as `metrics`.
///
/// # Panics
/// When it does not answer.
pub fn page(ready_file: &Path, path: &str) -> String {
    try_page(ready_file, path).expect("the pages are served")
}

/// The same; the error of the connection when nobody answers.
pub(crate) fn try_page(ready_file: &Path, path: &str) -> io::Result<String> {
    let ready: Value = serde_json::from_slice(&fs::read(ready_file)?)?;
    let address = ready["metrics"].as_str().unwrap_or_default();
    let mut stream = TcpStream::connect(address)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
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
