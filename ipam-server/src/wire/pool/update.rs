//! Updates of a pool: which fields they change, and which they must not.

use ipam_core::error::Error;
use proto::ipam::v1 as ipam;

use super::fields::{FIELDS, Kind, paths};

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
