//! The daemon of the reference IPAM plugin `dhcp`: where a network expects it, and whether it runs. It is not asked anything.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use cni::netconf::{NetConfList, PluginConf};

/// Where it listens if the network does not say (`defaultSocketPath` of the plugin).
const SOCKET: &str = "/run/cni/dhcp.sock";

/// The daemon does not run.
#[derive(Debug, thiserror::Error)]
#[error("the daemon of the IPAM plugin dhcp does not listen on {}", .socket.display())]
pub(crate) struct DaemonError {
    socket: PathBuf,
    #[source]
    source: io::Error,
}

/// The sockets on which the plugins of a network expect the daemon.
pub(crate) fn sockets(list: &NetConfList) -> impl Iterator<Item = PathBuf> {
    list.plugins.iter().filter_map(socket)
}

fn socket(plugin: &PluginConf) -> Option<PathBuf> {
    if plugin.ipam_type() != Some("dhcp") {
        return None;
    }
    let named = plugin.get("ipam")?.get("daemonSocketPath");
    let named = named.and_then(|path| path.as_str()).unwrap_or_default();
    Some(if named.is_empty() { SOCKET } else { named }.into())
}

/// Whether something listens there.
///
/// # Errors
/// [`DaemonError`] if nothing does.
pub(crate) fn check(socket: &Path) -> Result<(), DaemonError> {
    UnixStream::connect(socket)
        .map(drop)
        .map_err(|source| DaemonError {
            socket: socket.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use cni::error::with_causes;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_network_with_dhcp_names_the_socket_or_takes_the_usual_one() {
        for (ipam, expected) in [
            (json!({"type": "dhcp"}), Some(SOCKET)),
            (
                json!({"type": "dhcp", "daemonSocketPath": ""}),
                Some(SOCKET),
            ),
            (
                json!({"type": "dhcp", "daemonSocketPath": "/d.sock"}),
                Some("/d.sock"),
            ),
            (
                json!({"type": "host-local", "daemonSocketPath": "/d.sock"}),
                None,
            ),
            (json!({}), None),
        ] {
            let conf = json!({"plugins": [{"type": "bridge", "ipam": ipam}, {"type": "tuning"}]});
            let list = NetConfList::from_value(conf).unwrap();
            let found: Vec<_> = sockets(&list).collect();
            let expected: Vec<PathBuf> = expected.into_iter().map(PathBuf::from).collect();
            assert_eq!(found, expected, "{ipam}");
        }
    }

    #[test]
    fn a_daemon_that_is_gone_is_distinguished_from_one_that_listens() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("dhcp.sock");
        let missing = with_causes(&check(&socket).unwrap_err());
        assert!(missing.contains("No such file"), "{missing}");
        let listener = UnixListener::bind(&socket).unwrap();
        check(&socket).unwrap();
        drop(listener);
        let stale = with_causes(&check(&socket).unwrap_err());
        assert!(stale.contains("refused"), "{stale}");
    }
}
