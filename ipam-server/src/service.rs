//! ipam.v1 over gRPC: the calls of [`Api`], and the streams. One file an RPC family.

mod events;
mod export;
pub mod filter;
pub mod page_token;
pub mod status;

mod admin;
mod caller;
mod leases;
mod pools;
mod reservations;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use tokio::sync::watch as latest;

use crate::api::Api;
use crate::ledger::Ledger;

/// All services of ipam.v1 on one ledger.
#[derive(Clone)]
pub struct Service {
    api: Api,
    ledger: Ledger,
    /// True once the server stops: watches end then.
    stopping: latest::Receiver<bool>,
    /// Watches that are open.
    watchers: Arc<AtomicI64>,
}

impl Service {
    /// The services; `stopping` becomes true when open watches are to end.
    pub fn new(ledger: Ledger, stopping: latest::Receiver<bool>) -> Service {
        Service {
            api: Api::new(ledger.clone()),
            ledger,
            stopping,
            watchers: Arc::default(),
        }
    }

    /// Watches that are open.
    pub fn watchers(&self) -> Arc<AtomicI64> {
        self.watchers.clone()
    }
}
