//! What /metrics, /healthz and /readyz say of an agent, and where they are served.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::index::{Index, Kind};
use super::metrics::Metrics;
use super::releases::Waiting;
use super::watch::States;

/// How often an address that another process has is tried again.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The pages of an agent.
#[derive(Clone)]
pub(super) struct Pages {
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Metrics,
    pub(super) index: Arc<Index>,
    pub(super) states: States,
    pub(super) waiting: Waiting,
}

/// Where the pages are served; at first, perhaps, by an older agent.
pub(super) struct Binding {
    address: SocketAddr,
    listener: Option<TcpListener>,
}

impl Binding {
    /// Listens at `address`. Where another process does, [`serve`] waits until that process has ended.
    ///
    /// # Errors
    /// What the system says, if nobody could listen there.
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Binding> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Binding {
                address: listener.local_addr()?,
                listener: Some(listener),
            }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!(%address, "--metrics-listen is in use, by an older agent perhaps; the agent waits for it");
                Ok(Binding {
                    address,
                    listener: None,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// The address, with its real port.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    async fn listener(self) -> io::Result<TcpListener> {
        if let Some(listener) = self.listener {
            return Ok(listener);
        }
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            match TcpListener::bind(self.address).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => return bound,
            }
        }
    }
}

/// Serves the pages; never ends but by failing.
///
/// # Errors
/// If listening fails.
pub(super) async fn serve(binding: Binding, pages: Pages) -> io::Result<()> {
    process::pages::serve(binding.listener().await?, pages).await
}

impl process::pages::Pages for Pages {
    /// Releases that wait for a server are no reason to start the agent anew.
    fn health(&self) -> String {
        let problem = self.waiting.problem();
        problem.map_or_else(String::new, |problem| format!("{problem}\n"))
    }

    /// Ready once everything was listed; while a watch is interrupted, what is in memory still serves.
    fn ready(&self) -> Result<String, String> {
        if self.index.is_synced() {
            return Ok(String::new());
        }
        let problem = Kind::ALL
            .iter()
            .find_map(|kind| self.states.of(*kind).problem)
            .unwrap_or_else(|| "pods and networks are being listed".into());
        Err(format!("{problem}\n"))
    }

    async fn metrics(&self) -> Result<String, String> {
        for kind in Kind::ALL {
            let age = self.states.age(kind);
            let count = self.index.count(kind);
            self.metrics.watch(kind.as_str(), count, age);
        }
        self.metrics.of_process();
        self.waiting.age();
        let mut text = String::new();
        encode(&mut text, &self.registry).map_err(|error| format!("{error}\n"))?;
        Ok(text)
    }
}
