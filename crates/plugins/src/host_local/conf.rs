//! The configuration of `host-local`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use cni::version::Version;
use serde::Deserialize;
use serde_json::Value;

use super::range::{RangeSet, WrittenRange};
use crate::failure::Failure;
use crate::ipam_conf::{self, ROUTES};
use crate::notation;
use crate::plugin::Request;
use crate::shape::Shape;

/// Where the folders of networks are (`defaultDataDir` of the reference).
const DATA_DIR: &str = "/var/lib/cni/networks";

const RANGE: &[(&str, Shape)] = &[
    ("rangeStart", Shape::Any),
    ("rangeEnd", Shape::Any),
    ("subnet", Shape::Any),
    ("gateway", Shape::Any),
];

pub(super) const KEYS: &[(&str, Shape)] = &[
    (
        "ipam",
        Shape::Object(&[
            ("type", Shape::Any),
            ("name", Shape::Any),
            ("rangeStart", Shape::Any),
            ("rangeEnd", Shape::Any),
            ("subnet", Shape::Any),
            ("gateway", Shape::Any),
            ("routes", ROUTES),
            ("dataDir", Shape::Any),
            ("resolvConf", Shape::Any),
            ("ranges", Shape::List(&Shape::List(&Shape::Object(RANGE)))),
        ]),
    ),
    ("args", Shape::Any),
    ("runtimeConfig", Shape::Any),
];

/// `ipam`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(flatten)]
    range: WrittenRange,
    #[serde(default)]
    routes: Value,
    #[serde(default)]
    data_dir: String,
    #[serde(default)]
    resolv_conf: String,
    #[serde(default)]
    ranges: Vec<Vec<WrittenRange>>,
}

/// `runtimeConfig`, whose other keys are those of other plugins.
#[derive(Default, Deserialize)]
struct Runtime {
    ipranges: Option<Vec<Vec<WrittenRange>>>,
}

pub(super) struct Conf {
    /// The folder of the network's leases.
    pub(super) folder: PathBuf,
    /// The sets of which an attachment gets one address each.
    pub(super) sets: Vec<RangeSet>,
    /// The addresses that are requested.
    pub(super) requested: BTreeSet<IpAddr>,
    /// The file that the result's name servers are read from.
    pub(super) resolv_conf: Option<PathBuf>,
    pub(super) routes: Value,
}

impl Conf {
    pub(super) fn read(request: &Request<'_>) -> Result<Conf, Failure> {
        let written: Written = ipam_conf::ipam(request)?;
        let runtime: Runtime = ipam_conf::part(request.conf, "runtimeConfig")?;
        let mut sets = runtime.ipranges.unwrap_or_default();
        if written.range.subnet.is_some() {
            sets.push(vec![written.range]);
        }
        sets.extend(written.ranges);
        let data_dir = match written.data_dir.as_str() {
            "" => DATA_DIR,
            given => given,
        };
        let name = request.conf.get("name").and_then(Value::as_str);
        let resolv_conf = PathBuf::from(written.resolv_conf);
        Ok(Conf {
            folder: PathBuf::from(data_dir).join(name.unwrap_or_default()),
            sets: read_sets(&sets, request.version)?,
            requested: requested(request)?,
            resolv_conf: Some(resolv_conf).filter(|path| !path.as_os_str().is_empty()),
            routes: written.routes,
        })
    }
}

fn read_sets(written: &[Vec<WrittenRange>], version: Version) -> Result<Vec<RangeSet>, Failure> {
    let place = |at: usize| format!("ipam: range set {at}");
    let mut sets: Vec<RangeSet> = Vec::with_capacity(written.len());
    for (at, ranges) in written.iter().enumerate() {
        let set = RangeSet::read(ranges).map_err(|problem| Failure::field(place(at), problem))?;
        if let Some(other) = sets.iter().position(|other| other.overlaps(&set)) {
            let problem = format!("overlaps with range set {other}; an address has one set");
            return Err(Failure::field(place(at), problem));
        }
        sets.push(set);
    }
    if sets.is_empty() {
        return Err(Failure::field("ipam", "has no addresses; write ranges"));
    }
    let of_v4 = sets.iter().filter(|set| set.is_ipv4()).count();
    if version.has_legacy_results() && (of_v4 > 1 || sets.len() - of_v4 > 1) {
        let problem = format!(
            "CNI version {version} has one address of each family only; use 0.3.1 or newer, or fewer range sets"
        );
        return Err(Failure::field("ipam.ranges", problem));
    }
    Ok(sets)
}

fn requested(request: &Request<'_>) -> Result<BTreeSet<IpAddr>, Failure> {
    let written = ipam_conf::requested(request)?;
    let by_environment = request.argument("IP").map(str::to_owned);
    let all = [
        ("IP of CNI_ARGS", by_environment.into_iter().collect()),
        ("args.cni.ips", written.by_args),
        ("runtimeConfig.ips", written.by_runtime),
    ];
    let mut requested = BTreeSet::new();
    for (field, texts) in all {
        for text in texts {
            let address = notation::address_of_any(&text).ok_or_else(|| {
                Failure::field(
                    field,
                    format!("{text:?} is not an address such as 10.1.2.3"),
                )
            })?;
            requested.insert(address);
        }
    }
    Ok(requested)
}
