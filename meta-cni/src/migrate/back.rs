//! `--back`: what the receipt has, in reverse order. What somebody changed since is left alone.

use std::collections::BTreeSet;

use proto::ipam::v1::Lease;

use super::MigrateError;
use super::apply::write_network;
use super::leases::LABEL;
use super::node::Node;
use super::objects::Objects;
use super::receipt::{Entry, Held, Receipt};
use super::server::Server;
use crate::cluster::NadName;
use crate::cluster::api::ApiCluster;

/// What is asked on the way back.
pub(super) struct Back<'a> {
    pub(super) server: &'a Server,
    pub(super) node: &'a Node,
    /// For networks that were rewritten.
    pub(super) api: Option<&'a ApiCluster>,
    pub(super) objects: &'a Objects,
}

/// Whether something is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is.
    Undo,
    /// It is only reported.
    Pretend,
}

/// What is to be true before networks lease by whereabouts again.
const REPORT_FIRST: &str = "\"attachmentPolicy\": \"enforce\" refuses new pods with networks of whereabouts, unless an AttachmentPolicy \
     allows them; set \"report\" before";

/// A sentence for each step, for what is left alone, and for what else is to be done.
#[derive(Debug, Default)]
pub(super) struct Undone {
    pub(super) steps: Vec<String>,
    pub(super) left: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl Back<'_> {
    /// Leases of the receipt's pools that no migration imported, on whichever node: addresses that whereabouts does not know.
    ///
    /// # Errors
    /// [`MigrateError`] if the server does not answer.
    pub(super) fn newer(&self, receipt: &Receipt) -> Result<Vec<Lease>, MigrateError> {
        let (mut pools, mut imported) = (BTreeSet::new(), BTreeSet::new());
        for entry in receipt.entries() {
            match entry {
                Entry::Pool { name } => drop(pools.insert(name.clone())),
                Entry::Leases(held) => {
                    pools.extend(held.iter().map(|one| one.pool.clone()));
                    imported.extend(held.iter().cloned());
                }
                Entry::Network { .. } | Entry::Noted { .. } | Entry::Cordoned { .. } => {}
            }
        }
        let mut newer = Vec::new();
        for pool in pools {
            let leases = self.server.leases(&pool)?.into_iter();
            newer.extend(leases.filter(|lease| is_newer(lease, &imported)));
        }
        Ok(newer)
    }

    /// Goes through the receipt backwards.
    ///
    /// # Errors
    /// [`MigrateError`]; what was undone until then is out of the receipt.
    pub(super) fn undo(&self, receipt: &mut Receipt, mode: Mode) -> Result<Undone, MigrateError> {
        let mut undone = Undone::default();
        let entries: Vec<Entry> = receipt.entries().iter().rev().cloned().collect();
        let is_network = |entry: &Entry| matches!(entry, Entry::Network { .. });
        let has_networks = entries.iter().any(is_network);
        for entry in entries {
            match &entry {
                Entry::Network {
                    name,
                    before,
                    after,
                } => self.network((name, before, after), mode, &mut undone)?,
                Entry::Noted { network } => {
                    if mode == Mode::Undo {
                        self.node.forget(network)?;
                    }
                    let step = format!("note of network {network} on this node: removed");
                    undone.steps.push(step);
                }
                Entry::Leases(held) => self.leases(held, mode, &mut undone)?,
                Entry::Cordoned { name } => {
                    if mode == Mode::Undo {
                        self.server.uncordon(name)?;
                    }
                    undone.steps.push(format!("pool {name}: uncordoned"));
                }
                Entry::Pool { name } => self.pool(name, mode, &mut undone)?,
            }
            if mode == Mode::Undo {
                receipt.forget(&entry)?;
            }
        }
        if has_networks {
            undone.notes.push(REPORT_FIRST.to_owned());
        }
        Ok(undone)
    }

    fn network(
        &self,
        (name, before, after): (&NadName, &str, &str),
        mode: Mode,
        undone: &mut Undone,
    ) -> Result<(), MigrateError> {
        let api = self.api.ok_or(MigrateError::NoApi)?;
        let nad = self.objects.nads.iter().find(|nad| nad.name == *name);
        match nad {
            None => undone
                .left
                .push(format!("network {name} does not exist any more")),
            Some(nad) if nad.config != *after => {
                let left = format!("network {name} was changed since, and stays as it is");
                undone.left.push(left);
            }
            Some(nad) => {
                if mode == Mode::Undo {
                    write_network(api, name, &nad.version, before, None)?;
                }
                undone
                    .steps
                    .push(format!("network {name}: leases by whereabouts"));
            }
        }
        Ok(())
    }

    fn leases(&self, held: &[Held], mode: Mode, undone: &mut Undone) -> Result<(), MigrateError> {
        let pools: BTreeSet<&str> = held.iter().map(|one| one.pool.as_str()).collect();
        for pool in pools {
            let mut count = 0_usize;
            for lease in self.server.leases(pool)? {
                if held.contains(&Held::of(&lease))
                    && (mode == Mode::Pretend || self.server.release(&lease)?)
                {
                    count += 1;
                }
            }
            let step = format!("pool {pool}: {count} imported leases ended");
            undone.steps.push(step);
        }
        Ok(())
    }

    fn pool(&self, name: &str, mode: Mode, undone: &mut Undone) -> Result<(), MigrateError> {
        let deleted = match mode {
            Mode::Undo => self.server.delete_pool(name),
            Mode::Pretend => Ok(()),
        };
        match deleted {
            Ok(()) => undone.steps.push(format!("pool {name}: deleted")),
            // Pods made since lease from it (--force).
            Err(error) if error.is_precondition() => {
                undone
                    .left
                    .push(format!("pool {name} has leases, and stays"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Whether a lease is neither of these nor one that the migration of another node imported.
fn is_newer(lease: &Lease, imported: &BTreeSet<Held>) -> bool {
    !lease.labels.contains_key(LABEL) && !imported.contains(&Held::of(lease))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_node_imported_is_not_newer() {
        let lease = |ipv4: &str| Lease {
            pool: "wb-a".into(),
            ipv4: ipv4.into(),
            ..Lease::default()
        };
        let of_this_node = lease("10.0.0.1");
        let mut of_another = lease("10.0.0.2");
        of_another.labels.insert(LABEL.into(), "whereabouts".into());
        let imported = BTreeSet::from([Held::of(&of_this_node)]);
        assert!(!is_newer(&of_this_node, &imported));
        assert!(!is_newer(&of_another, &imported));
        assert!(is_newer(&lease("10.0.0.3"), &imported));
    }
}
