//! What this node's records hold, reported to ipam-server as soon as a connection to it is made, and whenever its store is
//! another one than before: a backup may be restored into a running server. A report that met conflicts is made again.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cni::error::with_causes;
use meta_cni::held::{ReportError, Reporter};
use meta_cni::host::host_name;
use meta_cni::ipam::client::Client;
use meta_cni::ipam::config::Server;
use meta_cni::ipam::failure::IpamFailure;
use meta_cni::ipam::known::Known;
use meta_cni::record::Records;

use super::blocking;
use super::proxy::Connections;

/// For connecting to the agent's own socket and for the report.
const LIMIT: Duration = Duration::from_secs(10);
/// How often the server is asked whether its store still knows what this node holds. A restored store waits for its nodes
/// for 60 s (`--restore-wait-seconds`).
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Why nothing was reported.
#[derive(Debug, thiserror::Error)]
enum HeldError {
    /// The agent's own socket does not answer.
    #[error(transparent)]
    Connect(#[from] IpamFailure),
    /// The report failed.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// Reports at each new connection, through the agent's own `socket`; never ends.
pub(super) async fn run(
    state_dir: PathBuf,
    socket: PathBuf,
    node: Arc<str>,
    mut connections: Connections,
) -> Infallible {
    let server = Server {
        address: format!("unix://{}", socket.display()),
        tls: None,
    };
    // The last failure that was logged.
    let mut reported = String::new();
    loop {
        tokio::select! {
            () = connections.next() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
        let (dir, to, node) = (state_dir.clone(), server.clone(), Arc::clone(&node));
        match blocking(move || report(&dir, &to, &node)).await {
            Ok(()) => reported.clear(),
            Err(error) => {
                let error = with_causes(&error);
                if reported != error {
                    tracing::warn!(error, "what this node holds is not reported yet");
                    reported = error;
                }
            }
        }
    }
}

fn report(state_dir: &Path, server: &Server, node: &str) -> Result<(), HeldError> {
    let known = Known::new(state_dir, server);
    let client = Client::connect(server, None, LIMIT, true)?;
    // The leases name the node as meta-cni does, by the host's name, unless their network says otherwise.
    let host = host_name().unwrap_or_default();
    let noted = known.read().node;
    let reporter = Reporter {
        records: &Records::new(state_dir),
        known: &known,
        server,
        client: &client,
        node: if noted.is_empty() { &host } else { &noted },
        aliases: &[host.clone(), node.to_owned()],
        own: None,
    };
    Ok(reporter.report_if_needed()?)
}
