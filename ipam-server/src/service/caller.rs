//! Who calls and how long the answer is waited for.

use std::time::{Duration, Instant};

use tonic::Request;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo};

use crate::ledger::Caller;
use crate::listen::incoming::Peer;

/// The most that a request may take if the caller sets no deadline.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// The caller of a request.
pub(super) fn caller<T>(request: &Request<T>) -> Caller {
    let timeout = request
        .metadata()
        .get("grpc-timeout")
        .and_then(|value| timeout(value.to_str().ok()?));
    Caller {
        actor: actor(request),
        deadline: Some(Instant::now() + timeout.unwrap_or(DEFAULT_DEADLINE)),
    }
}

/// For the history: the user on a unix socket, the certificate or address on TCP.
fn actor<T>(request: &Request<T>) -> String {
    let extensions = request.extensions();
    if let Some(unix) = extensions.get::<Peer<UdsConnectInfo>>() {
        return unix
            .info
            .peer_cred
            .map_or_else(|| "unix".to_owned(), |peer| format!("uid:{}", peer.uid()));
    }
    let tls = extensions.get::<TlsConnectInfo<Peer<TcpConnectInfo>>>();
    let tcp = extensions.get::<Peer<TcpConnectInfo>>();
    let address = tcp
        .or(tls.map(TlsConnectInfo::get_ref))
        .and_then(|peer| peer.info.remote_addr)
        .map_or_else(|| "unknown".to_owned(), |at| at.ip().to_string());
    let certified = tls
        .and_then(TlsConnectInfo::peer_certs)
        .is_some_and(|certificates| !certificates.is_empty());
    if certified {
        format!("tls:{address}")
    } else {
        address
    }
}

/// The value of `grpc-timeout`: up to 8 digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}
