//! What the configurations of plugins for addresses have in common: routes and name servers that go into the result as they
//! are, and the addresses that the caller requests.

use cni::key;
use cni::result::CniResult;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::plugin::Request;
use crate::shape::Shape;

/// The keys of a route (libcni 1.3, `types.Route`).
pub(crate) const ROUTES: Shape = Shape::List(&Shape::Object(&[
    ("dst", Shape::Any),
    ("gw", Shape::Any),
    ("mtu", Shape::Any),
    ("advmss", Shape::Any),
    ("priority", Shape::Any),
    ("table", Shape::Any),
    ("scope", Shape::Any),
]));

/// The addresses that are requested, as texts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Requested {
    /// `args.cni.ips`.
    pub(crate) by_args: Vec<String>,
    /// `runtimeConfig.ips`.
    pub(crate) by_runtime: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Ips {
    ips: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct Args {
    cni: Option<Ips>,
}

/// The addresses that the configuration requests beside its own.
///
/// # Errors
/// [`Failure::Configuration`].
pub(crate) fn requested(request: &Request<'_>) -> Result<Requested, Failure> {
    let args: Args = part(request.conf, "args")?;
    let runtime: Ips = part(request.conf, "runtimeConfig")?;
    Ok(Requested {
        by_args: args.cni.and_then(|cni| cni.ips).unwrap_or_default(),
        by_runtime: runtime.ips.unwrap_or_default(),
    })
}

/// A part of the configuration whose other keys are somebody else's; `T` has its keys in lower case.
///
/// # Errors
/// [`Failure::Configuration`].
pub(crate) fn part<T: DeserializeOwned + Default>(
    conf: &Map<String, Value>,
    name: &str,
) -> Result<T, Failure> {
    let Some(value) = conf.get(name) else {
        return Ok(T::default());
    };
    serde_json::from_value(key::in_lower_case(value))
        .map_err(|source| Failure::Configuration { source })
}

/// `ipam` of the configuration.
///
/// # Errors
/// [`Failure::Field`] if there is none; [`Failure::Configuration`].
pub(crate) fn ipam<T: DeserializeOwned>(request: &Request<'_>) -> Result<T, Failure> {
    let Some(ipam) = request.conf.get("ipam") else {
        return Err(Failure::field(
            "ipam",
            "is missing; write the addresses there",
        ));
    };
    serde_json::from_value(ipam.clone()).map_err(|source| Failure::Configuration { source })
}

/// A result with these routes and name servers.
///
/// # Errors
/// [`Failure::Field`] that names the first value that is none.
pub(crate) fn result_of(routes: &Value, dns: &Value) -> Result<CniResult, Failure> {
    // Whatever the configuration's version is, routes may have all keys of the newest one.
    let mut written =
        json!({"cniVersion": cni::version::Version::LATEST.as_str(), "routes": routes});
    if !dns.is_null() {
        written["dns"] = key::in_lower_case(dns);
    }
    CniResult::from_value(&written, cni::version::Version::LATEST)
        .map_err(|error| Failure::field("ipam", error.to_string()))
}
