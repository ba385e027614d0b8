//! Hardware addresses: the one that is asked for, and random ones.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use serde_json::Value;

use crate::failure::Failure;
use crate::plugin::Request;

/// The hardware address that the caller asks for: by `runtimeConfig.mac`, else `args.cni.mac`, else `MAC` of CNI_ARGS.
///
/// # Errors
/// [`Failure::Field`] if it is not one.
pub(crate) fn wanted(request: &Request<'_>) -> Result<Option<Vec<u8>>, Failure> {
    let at = |path: &[&str]| {
        let (first, rest) = path.split_first()?;
        let first = request.conf.get(*first)?;
        let found = rest.iter().try_fold(first, |value, name| {
            cni::key::value_of(value.as_object()?, name)
        });
        found.and_then(Value::as_str).filter(|mac| !mac.is_empty())
    };
    let by_runtime = at(&["runtimeConfig", "mac"]).map(|mac| ("runtimeConfig.mac", mac));
    let asked = by_runtime
        .or_else(|| at(&["args", "cni", "mac"]).map(|mac| ("args.cni.mac", mac)))
        .or_else(|| request.argument("MAC").map(|mac| ("MAC of CNI_ARGS", mac)));
    let Some((field, mac)) = asked else {
        return Ok(None);
    };
    read(field, mac).map(Some)
}

/// The octets of the value of this field.
///
/// # Errors
/// [`Failure::Field`] if it is no hardware address.
pub(crate) fn read(field: &str, mac: &str) -> Result<Vec<u8>, Failure> {
    let octets = cni::hardware::octets(mac);
    octets.ok_or_else(|| {
        let problem = format!("{mac:?} is no hardware address; write one as 02:00:00:00:00:01");
        Failure::field(field, problem)
    })
}

/// A random address as the kernel gives them: locally administered, of a single host (IEEE 802).
pub(crate) fn random() -> [u8; 6] {
    let [first, b, c, d, e, f, ..] = random_bytes();
    [first & 0xfe | 0x02, b, c, d, e, f]
}

/// Random bytes, different in each process and each call; not for secrets.
pub(crate) fn random_bytes() -> [u8; 8] {
    // The standard library seeds each RandomState from the operating system and changes it every time.
    RandomState::new().build_hasher().finish().to_le_bytes()
}
