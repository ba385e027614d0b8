//! The calls of ipam.v1 as functions, without gRPC: each decodes its request, has the ledger decide, and encodes the answer.
//! What streams (Export, Watch, ListEvents) is read by `service`.

mod admin;
mod leases;
mod pools;
mod reservations;

use proto::ipam::v1 as ipam;

use crate::ledger::{Caller, Ledger};

/// The calls of one ledger.
#[derive(Clone)]
pub struct Api {
    ledger: Ledger,
}

impl Api {
    /// The calls of a ledger.
    pub fn new(ledger: Ledger) -> Api {
        Api { ledger }
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

/// Puts the node of a caller that is one into a request: no word of the request about that counts.
fn own(caller: &Caller, request: &mut ipam::AllocateRequest) {
    if let Some(node) = &caller.node {
        let owner = request.owner.get_or_insert_default();
        owner.node = node.to_string();
    }
}
