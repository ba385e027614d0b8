//! A client on a unix socket may send any text as `:authority`: the C core, grpc-java and grpc-go with a dialer of its own
//! send the socket's path, and are served by ipam-server and by a node's agent.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use e2e::{IpamServer, wait_until};

use crate::ipam::proxy::fixture::{PATIENCE, Proxy};

/// Types of frames (RFC 9113, 6).
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
/// Their flags.
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).expect("short").to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags, 0, 0, 0, stream]);
    bytes.extend(payload);
    bytes
}

/// A text as HPACK has it without the Huffman code.
fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len())
        .ok()
        .filter(|&length| length < 0x7f);
    let mut bytes = vec![length.expect("a short text")];
    bytes.extend(text.bytes());
    bytes
}

/// ListPools with this `:authority`.
fn call(stream: u8, authority: &[u8]) -> Vec<u8> {
    let fields = [
        // :method POST and :scheme http.
        b"\x83\x86".to_vec(),
        [b"\x44".to_vec(), text("/ipam.v1.PoolService/ListPools")].concat(),
        authority.to_vec(),
        [b"\x5f".to_vec(), text("application/grpc")].concat(),
        [b"\x40".to_vec(), text("te"), text("trailers")].concat(),
    ];
    let mut bytes = frame(HEADERS, END_HEADERS, stream, &fields.concat());
    bytes.extend(frame(DATA, END_STREAM, stream, &[0; 5]));
    bytes
}

/// The types of the frames that answer `calls` calls.
fn answers(connection: &mut UnixStream, calls: usize) -> Vec<u8> {
    let (mut kinds, mut ended) = (Vec::new(), 0);
    while ended < calls {
        let mut head = [0; 9];
        connection.read_exact(&mut head).expect("a frame");
        let [a, b, c, kind, flags, .., stream] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        connection.read_exact(&mut payload).expect("its payload");
        if stream != 0 && (kind == HEADERS || kind == DATA || kind == 0x3) {
            kinds.push(kind);
            ended += usize::from(kind == 0x3 || flags & END_STREAM != 0);
        }
    }
    kinds
}

/// Calls with an authority in the form of a field that goes into the table, and then by its number there.
fn call_twice(socket: &Path, authority: &[u8]) -> Vec<u8> {
    let mut connection = UnixStream::connect(socket).expect("connect");
    connection
        .set_read_timeout(Some(PATIENCE))
        .expect("limit the time");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(call(1, authority));
    // From 62 on (RFC 7541, 2.3.3), the table has this call's :path, then te, content-type and :authority of the first.
    bytes.extend(call(3, &[0x80 | 65]));
    connection.write_all(&bytes).expect("call");
    answers(&mut connection, 2)
}

/// Both calls got a message, not an error or a reset.
const SERVED: [u8; 6] = [HEADERS, DATA, HEADERS, HEADERS, DATA, HEADERS];

fn authorities(socket: &Path) -> Vec<Vec<u8>> {
    let path = socket.display().to_string();
    let quoted = path.replace('/', "%2F");
    let named = |name: &[u8], value: &str| [name, &text(value)].concat();
    vec![
        named(b"\x41", "localhost"),
        named(b"\x41", &path),
        named(b"\x40\x0a:authority", &quoted),
        // %2Fr in the Huffman code.
        b"\x41\x83\x54\x50\xec".to_vec(),
    ]
}

#[test]
fn ipam_server_serves_a_client_that_sends_the_path_of_its_socket() {
    let server = IpamServer::start();
    for authority in authorities(&server.socket()) {
        let kinds = call_twice(&server.socket(), &authority);
        assert_eq!(sorted(&kinds), sorted(&SERVED), "{kinds:?}");
    }
}

#[test]
fn the_agent_serves_a_client_that_sends_the_path_of_its_socket() {
    let server = IpamServer::start();
    let agent = Proxy::start(&server);
    for authority in authorities(&agent.socket()) {
        // Until the agent is connected, a call ends with an error: without DATA, but not by a reset.
        wait_until("the agent passes calls on", PATIENCE, || {
            let kinds = call_twice(&agent.socket(), &authority);
            assert!(!kinds.contains(&0x3), "{kinds:?}");
            (sorted(&kinds) == sorted(&SERVED)).then_some(())
        });
    }
}

/// The frames of two streams may be mixed.
fn sorted(kinds: &[u8]) -> Vec<u8> {
    let mut kinds = kinds.to_vec();
    kinds.sort_unstable();
    kinds
}
