use std::io::{self, Read};
use std::os::unix::net::UnixListener;
use std::thread;

use proto::ipam::v1::AllocateRequest;
use tokio_stream::wrappers::UnixListenerStream;

use tonic::Code;

use super::*;

/// Reads from a connection of HTTP/2 until a request comes (RFC 9113, sections 3.4 and 4.1).
fn wait_for_request(connection: &mut impl Read) {
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    connection.read_exact(&mut [0; PREFACE]).unwrap();
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).unwrap();
        let [a, b, c, kind, ..] = head;
        if kind == HEADERS {
            return;
        }
        let length = u32::from_be_bytes([0, a, b, c]).into();
        io::copy(&mut connection.take(length), &mut io::sink()).unwrap();
    }
}

/// Takes one request and closes its connection, then answers every call with UNIMPLEMENTED.
fn restarting(listener: UnixListener) {
    let (mut connection, _) = listener.accept().unwrap();
    wait_for_request(&mut connection);
    drop(connection);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        tonic::transport::Server::builder()
            .add_routes(tonic::service::Routes::default())
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await
            .unwrap();
    });
}

fn asked(patient: bool) -> Status {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ipam.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = Server {
        address: format!("unix://{}", path.display()),
        tls: None,
    };
    // The kernel connects before anybody accepts.
    let client = Client::connect(&server, None, Duration::from_secs(60), patient).unwrap();
    thread::spawn(move || restarting(listener));
    client
        .call(
            AllocateRequest::default(),
            |mut leases, request| async move { leases.allocate(request).await },
        )
        .unwrap_err()
}

#[test]
fn a_call_whose_connection_breaks_is_made_again_on_another_one() {
    assert_eq!(asked(true).code(), Code::Unimplemented);
}

#[test]
fn who_is_not_patient_learns_at_once_that_the_connection_broke() {
    let status = asked(false);
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("closed the connection"),
        "{status}"
    );
}

/// A server on a socket that answers every call with UNIMPLEMENTED, as long as the runtime runs.
fn answering(runtime: &tokio::runtime::Runtime, path: &Path) {
    let _entered = runtime.enter();
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    runtime.spawn(
        tonic::transport::Server::builder()
            .add_routes(tonic::service::Routes::default())
            .serve_with_incoming(UnixListenerStream::new(listener)),
    );
}

#[test]
fn the_next_server_is_asked_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let _hanging = UnixListener::bind(path("hangs")).unwrap();
    answering(&runtime, &path("answers"));
    let names = ["gone", "hangs", "answers"];
    let addresses = names.map(|name| format!("unix://{}", path(name).display()));
    let server = Server {
        address: addresses.join(","),
        tls: None,
    };
    let state_dir = path("state");
    let client = || Client::connect(&server, Some(&state_dir), Duration::from_secs(60), false);
    for first in [0, 2] {
        let client = client().unwrap();
        let hint = client.last_good.as_ref().unwrap();
        assert_eq!(hint.number(), first);
        let answer = client.call(
            AllocateRequest::default(),
            |mut leases, request| async move { leases.allocate(request).await },
        );
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
        assert_eq!(client.preferred.get(), 2);
    }
}

#[test]
fn if_no_server_is_running_all_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let address = |name: &str| format!("unix://{}", folder.path().join(name).display());
    let server = Server {
        address: [address("a"), address("b")].join(","),
        tls: None,
    };
    let error = Client::connect(&server, None, Duration::from_secs(60), false);
    let error = error.err().unwrap().to_string();
    assert!(error.contains(&server.address), "{error}");
}
