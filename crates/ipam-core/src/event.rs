//! The history: one change of a lease, a pool or a reservation, as it was before and as it is after.

use std::sync::Arc;

use jiff::Timestamp;

use crate::lease::{Lease, LeaseId};
use crate::pool::Pool;
use crate::reservation::Reservation;

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventType {
    /// It was made.
    #[default]
    Created,
    /// It was changed: a pool's configuration, the end of a lease.
    Updated,
    /// A lease was released.
    Released,
    /// A lease ended by itself.
    Expired,
    /// Orphan reclaim or a plugin's GC ended a lease.
    Reclaimed,
    /// The quarantine of a lease is over: it is gone.
    Freed,
    /// The quarantine of a lease was cut short, since the pool had no other address.
    CutShort,
    /// A pool or a reservation was removed.
    Deleted,
}

/// One change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Counts the changes of everything, from 1.
    pub revision: u64,
    /// When.
    pub time: Timestamp,
    /// What.
    pub kind: EventType,
    /// Who asked.
    pub actor: Arc<str>,
    /// Of what.
    pub change: Change,
}

/// The two sides of a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Sides<T> {
    /// As it was; none: it did not exist.
    pub before: Option<Arc<T>>,
    /// As it is; none: it is gone.
    pub after: Option<Arc<T>>,
}

impl<T> Sides<T> {
    /// The side after the change, else the one before.
    pub fn newest(&self) -> Option<&Arc<T>> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A lease.
    Lease(Sides<Lease>),
    /// A pool.
    Pool(Sides<Pool>),
    /// A reservation.
    Reservation(Sides<Reservation>),
}

impl Default for Change {
    fn default() -> Change {
        Change::Lease(Sides {
            before: None,
            after: None,
        })
    }
}

impl Change {
    /// A change of a lease.
    pub fn lease(before: Option<Arc<Lease>>, after: Option<Arc<Lease>>) -> Change {
        Change::Lease(Sides { before, after })
    }

    /// A change of a pool.
    pub fn pool(before: Option<Arc<Pool>>, after: Option<Arc<Pool>>) -> Change {
        Change::Pool(Sides { before, after })
    }

    /// A change of a reservation.
    pub fn reservation(
        before: Option<Arc<Reservation>>,
        after: Option<Arc<Reservation>>,
    ) -> Change {
        Change::Reservation(Sides { before, after })
    }
}

impl Event {
    /// The two sides of the lease that it is about.
    pub fn lease(&self) -> Option<&Sides<Lease>> {
        match &self.change {
            Change::Lease(sides) => Some(sides),
            _ => None,
        }
    }

    /// The leases that it is about, before and after the change.
    pub fn leases(&self) -> impl Iterator<Item = &Arc<Lease>> {
        let sides = self.lease().into_iter();
        sides.flat_map(|sides| sides.before.iter().chain(&sides.after))
    }

    /// The lease that it is about, before the change.
    pub fn lease_before(&self) -> Option<&Arc<Lease>> {
        self.lease()?.before.as_ref()
    }

    /// The number of the lease that it is about.
    pub fn lease_id(&self) -> Option<LeaseId> {
        self.lease()?.newest().map(|lease| lease.id)
    }
}
