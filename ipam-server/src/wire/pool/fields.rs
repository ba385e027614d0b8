//! The fields of a pool's message: one table that says of each who changes it, and how it is taken from another message.
//! UpdatePool, `ipamctl pool edit` and the flags of `ipamctl` read it; a test holds it against the contract.

use ipam_core::error::Error;
use proto::ipam::v1 as ipam;

/// Who changes a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UpdatePool.
    Mutable,
    /// Nobody: it is as the pool was created.
    Immutable,
    /// The server; what UpdatePool says of it counts for nothing. `state` is changed by CordonPool and UncordonPool.
    Output,
}

/// A field of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// As an update mask names it, such as `ipv4.ranges`.
    pub path: &'static str,
    /// Who changes it.
    pub kind: Kind,
    take: fn(&mut ipam::Pool, &ipam::Pool),
    keeps: fn(&ipam::Pool, &ipam::Pool) -> bool,
}

macro_rules! field {
    ($kind:ident $family:ident.$name:ident) => {
        Field {
            path: concat!(stringify!($family), ".", stringify!($name)),
            kind: Kind::$kind,
            take: |to, from| {
                if let (Some(to), Some(from)) = (&mut to.$family, &from.$family) {
                    to.$name.clone_from(&from.$name);
                }
            },
            keeps: |present, wanted| {
                let of = |pool: &ipam::Pool| pool.$family.as_ref().map(|subnet| subnet.$name.clone());
                of(present) == of(wanted)
            },
        }
    };
    ($kind:ident $name:ident) => {
        Field {
            path: stringify!($name),
            kind: Kind::$kind,
            take: |to, from| to.$name.clone_from(&from.$name),
            keeps: |present, wanted| present.$name == wanted.$name,
        }
    };
    // Unset, the field stays as it is.
    (Immutable or unset $name:ident) => {
        Field {
            keeps: |present, wanted| {
                wanted.$name == ipam::Pool::default().$name || present.$name == wanted.$name
            },
            ..field!(Immutable $name)
        }
    };
}

/// Every field, once.
pub const FIELDS: [Field; 29] = [
    field!(Immutable name),
    field!(Immutable or unset vrf),
    field!(Immutable ipv4.cidr),
    field!(Mutable ipv4.ranges),
    field!(Mutable ipv4.excludes),
    field!(Mutable ipv4.gateway),
    field!(Mutable ipv4.routes),
    field!(Immutable ipv6.cidr),
    field!(Mutable ipv6.ranges),
    field!(Mutable ipv6.excludes),
    field!(Mutable ipv6.gateway),
    field!(Mutable ipv6.routes),
    field!(Mutable dns),
    field!(Immutable or unset pairing),
    field!(Mutable families_required),
    field!(Mutable strategy),
    field!(Mutable quarantine),
    field!(Mutable default_ttl),
    field!(Mutable max_ttl),
    field!(Output state),
    field!(Mutable labels),
    field!(Output etag),
    field!(Output create_time),
    field!(Output update_time),
    field!(Output ipv4_usage),
    field!(Output ipv6_usage),
    field!(Mutable allowed_namespaces),
    field!(Mutable requested_addresses),
    field!(Mutable namespace_quota),
];

/// The paths of the fields of a kind, in the order of the contract.
pub fn paths(kind: Kind) -> impl Iterator<Item = &'static str> {
    let fields = FIELDS.iter().filter(move |field| field.kind == kind);
    fields.map(|field| field.path)
}

/// A pool without what the server says of it.
pub fn configuration(pool: &ipam::Pool) -> ipam::Pool {
    let mut pool = pool.clone();
    for field in FIELDS.iter().filter(|field| field.kind == Kind::Output) {
        (field.take)(&mut pool, &ipam::Pool::default());
    }
    pool
}

/// The first immutable field in which `wanted` differs from `present`. An unset `vrf` or `pairing` does not differ.
pub fn changed_immutable(present: &ipam::Pool, wanted: &ipam::Pool) -> Option<&'static str> {
    let mut fields = FIELDS.iter();
    fields
        .find(|field| field.kind == Kind::Immutable && !(field.keeps)(present, wanted))
        .map(|field| field.path)
}

/// Takes the fields of a mask from `wanted`; without a mask, all mutable ones.
///
/// # Errors
/// [`Error::InvalidFields`] for a mask that names another field or one of a family that the pool lacks, and without a mask for
/// a changed immutable field.
pub fn update(pool: &mut ipam::Pool, wanted: &ipam::Pool, mask: &[String]) -> Result<(), Error> {
    let mutable = FIELDS.iter().filter(|field| field.kind == Kind::Mutable);
    if mask.is_empty() {
        if let Some(path) = changed_immutable(pool, wanted) {
            let problem = "cannot change; make another pool";
            return Err(Error::field(format!("pool.{path}"), problem));
        }
        mutable.for_each(|field| (field.take)(pool, wanted));
        return Ok(());
    }
    for path in mask {
        let Some(field) = mutable.clone().find(|field| field.path == path) else {
            let known: Vec<_> = paths(Kind::Mutable).collect();
            let problem = format!(
                "{path:?} cannot be changed; it may name {}",
                known.join(", ")
            );
            return Err(Error::field("update_mask", problem));
        };
        if lacks_family(pool, path) {
            let problem = format!(
                "{path:?}: the pool has no such family, and a family cannot be added; make another pool"
            );
            return Err(Error::field("update_mask", problem));
        }
        (field.take)(pool, wanted);
    }
    Ok(())
}

fn lacks_family(pool: &ipam::Pool, path: &str) -> bool {
    match path.split_once('.') {
        Some(("ipv4", _)) => pool.ipv4.is_none(),
        Some(("ipv6", _)) => pool.ipv6.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
