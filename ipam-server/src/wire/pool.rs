//! Pools: what a message has in each field, and what is wrong with it.

#[cfg(test)]
mod contract;
pub mod fields;
mod parts;
mod subnet;
#[cfg(test)]
mod tests;
pub mod update;

use ipam_core::error::Error;
use ipam_core::pool::Pool;
use proto::ipam::v1 as ipam;

pub use fields::encode;
pub use parts::encode_dns;
pub use subnet::encode_routes;

use super::Malformed;
use super::problems::Problems;

/// The pool of a request: addresses in canonical form, defaults filled in.
///
/// # Errors
/// [`Error::InvalidFields`] with everything that is wrong, in terms of `pool.…`.
pub fn decode(message: ipam::Pool) -> Result<Pool, Error> {
    let mut problems = Problems::default();
    let pool = read(message, &mut problems);
    problems.into_result()?;
    pool.map_err(|malformed| Error::field("pool", malformed.what))
}

/// The pool of a stored message. What only a new pool must not have is taken as it is.
///
/// # Errors
/// [`Malformed`] names the field.
pub fn decode_stored(message: ipam::Pool) -> Result<Pool, Malformed> {
    let mut problems = Problems::default();
    read(message, &mut problems).map_err(|malformed| match problems.into_result() {
        Ok(()) => malformed,
        Err(error) => Malformed {
            what: error.to_string(),
        },
    })
}

/// Refuses what only a new or changed pool must not have: networks that no pod can use, and labels with characters that steer a
/// terminal.
///
/// # Errors
/// [`Error::InvalidFields`] names `pool.labels`, `pool.ipv4.cidr`, `pool.ipv4.gateway`, and those of IPv6.
pub fn check_new(pool: &Pool) -> Result<(), Error> {
    check_usable(pool)?;
    check_labels(pool)
}

/// Refuses networks that no pod can use.
pub(crate) fn check_usable(pool: &Pool) -> Result<(), Error> {
    let problems = pool.unusable();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::InvalidFields(problems)),
    }
}

/// Refuses labels with characters that steer a terminal.
pub(crate) fn check_labels(pool: &Pool) -> Result<(), Error> {
    let mut problems = Problems::default();
    problems.plain_labels("pool.labels", &pool.labels);
    problems.into_result()
}

/// Reads a message, and adds what is wrong with it to `problems`; malformed is what has no value in the domain.
fn read(message: ipam::Pool, problems: &mut Problems) -> Result<Pool, Malformed> {
    let pool = fields::read(message, problems)?;
    check_whole(&pool, problems);
    Ok(pool)
}

/// What fields demand of one another.
fn check_whole(pool: &Pool, problems: &mut Problems) {
    if pool.is_aligned() {
        match (&pool.ipv4, &pool.ipv6) {
            (Some(four), Some(six)) => {
                if !problems.names("pool.ipv") && four.aligned_with(six).count() == 0 {
                    problems.add(
                        "pool.pairing",
                        "ALIGNED pairs need addresses at the same offset, and the ranges of ipv4 and ipv6 have none in common",
                    );
                }
            }
            _ => problems.add("pool.pairing", "ALIGNED pairs need both ipv4 and ipv6"),
        }
    }
    if let (Some(max), Some(default)) = (pool.max_ttl(), pool.default_ttl())
        && default > max
    {
        problems.add("pool.default_ttl", "is longer than max_ttl");
    }
}
