//! Whether the node's agent answers: it takes its socket's place only when it knows the cluster.

use std::path::Path;
use std::time::Duration;

use cni::error::with_causes;

use crate::cluster::agent::AgentCluster;

const LIMIT: Duration = Duration::from_secs(2);

/// Asks the agent once; why it does not answer, if it does not.
pub(super) fn answers(socket: &Path) -> Result<(), String> {
    let agent = AgentCluster::new(socket.to_owned(), Duration::ZERO, None);
    match agent.agent_status(LIMIT) {
        Ok(_) => Ok(()),
        Err(error) => Err(with_causes(&error)),
    }
}
