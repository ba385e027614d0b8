//! What a connection proves of its caller.

use std::net::IpAddr;

use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo};

use crate::identity::{Identity, names};
use crate::listen::incoming::Peer;

/// The identity that the connection of a request proves.
pub(super) fn identity(extensions: &http::Extensions) -> Identity {
    if let Some(unix) = extensions.get::<Peer<UdsConnectInfo>>() {
        let user = unix.info.peer_cred.map(|peer| Identity::User(peer.uid()));
        return user.unwrap_or(Identity::Nobody(None));
    }
    let tls = extensions.get::<TlsConnectInfo<Peer<TcpConnectInfo>>>();
    let Some(tls) = tls else {
        let tcp = extensions.get::<Peer<TcpConnectInfo>>();
        return Identity::Nobody(tcp.and_then(|peer| address(&peer.info)));
    };
    let peer = tls.get_ref();
    let identity = peer.identity.get_or_init(|| {
        // The first certificate is the client's own; the handshake has verified it.
        let own = tls.peer_certs();
        let own = own.as_ref().and_then(|chain| chain.first());
        match own {
            Some(certificate) => Identity::Certificate(names(certificate)),
            None => Identity::Nobody(address(&peer.info)),
        }
    });
    identity.clone()
}

fn address(info: &TcpConnectInfo) -> Option<IpAddr> {
    info.remote_addr.map(|at| at.ip())
}
