//! What this node's records hold, reported to ipam-server as soon as a connection to it is made: its store may be another
//! one than before. A report that met conflicts is made again.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::blocking;
use super::proxy::Connections;
use crate::cni::error::with_causes;
use crate::held::{ReportError, Reporter};
use crate::ipam::client::Client;
use crate::ipam::config::Server;
use crate::ipam::failure::IpamFailure;
use crate::ipam::known::Known;
use crate::record::Records;

/// For connecting to the agent's own socket and for the report.
const LIMIT: Duration = Duration::from_secs(10);
/// The pause after a report that failed.
const RETRY: Duration = Duration::from_secs(10);
/// How often is looked whether a report that met conflicts is due.
const LOOK: Duration = Duration::from_secs(60);

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
    let known = Known::new(&state_dir, &server);
    let mut told = String::new();
    let mut pause = LOOK;
    loop {
        tokio::select! {
            () = connections.next() => {}
            () = tokio::time::sleep(pause) => {
                if told.is_empty() && !known.is_due(&known.read()) {
                    continue;
                }
            }
        }
        let (dir, to, node) = (state_dir.clone(), server.clone(), Arc::clone(&node));
        match blocking(move || report(&dir, &to, &node)).await {
            Ok(()) => {
                told.clear();
                pause = LOOK;
            }
            Err(error) => {
                let error = with_causes(&error);
                if told != error {
                    tracing::warn!(error, "what this node holds is not reported yet");
                    told = error;
                }
                pause = RETRY;
            }
        }
    }
}

fn report(state_dir: &Path, server: &Server, node: &str) -> Result<(), HeldError> {
    let known = Known::new(state_dir, server);
    let client = Client::connect(server, LIMIT, true)?;
    // As meta-cni calls the node, which knows the host's name.
    let noted = known.read().node;
    let reporter = Reporter {
        records: &Records::new(state_dir),
        known: &known,
        server,
        client: &client,
        node: if noted.is_empty() { node } else { &noted },
        own: None,
    };
    Ok(reporter.report_if_needed()?)
}
