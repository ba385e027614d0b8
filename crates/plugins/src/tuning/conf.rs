//! The configuration of `tuning`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use cni::key;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::plugin::Request;
use crate::shape::Shape;

/// Where the former settings of interfaces are kept (`defaultDataDir` of the reference).
const DATA_DIR: &str = "/run/cni/tuning";
/// The settings of the network have their files here.
const NETWORK_SETTINGS: &str = "/proc/sys/net/";

pub(super) const KEYS: &[(&str, Shape)] = &[
    ("dataDir", Shape::Any),
    ("sysctl", Shape::Any),
    ("mac", Shape::Any),
    ("promisc", Shape::Any),
    ("mtu", Shape::Any),
    ("txQLen", Shape::Any),
    ("allmulti", Shape::Any),
    ("args", Shape::Any),
    ("runtimeConfig", Shape::Any),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    data_dir: String,
    #[serde(default)]
    sysctl: BTreeMap<String, String>,
    #[serde(default)]
    mac: String,
    #[serde(default)]
    promisc: bool,
    #[serde(default)]
    mtu: i64,
    #[serde(rename = "txQLen")]
    tx_queue: Option<i64>,
    allmulti: Option<bool>,
}

/// What is to be set. What is absent stays as it is.
#[derive(Debug, Default)]
pub(super) struct Conf {
    pub(super) data_dir: PathBuf,
    /// Kernel settings by their names.
    pub(super) sysctl: BTreeMap<String, String>,
    pub(super) mac: Option<Mac>,
    pub(super) promisc: bool,
    pub(super) mtu: Option<u32>,
    pub(super) tx_queue: Option<u32>,
    pub(super) all_multicast: Option<bool>,
}

/// A hardware address.
#[derive(Debug)]
pub(super) struct Mac {
    /// As it is written, which the result has.
    pub(super) text: String,
    pub(super) octets: Vec<u8>,
}

impl Conf {
    pub(super) fn read(request: &Request<'_>) -> Result<Conf, Failure> {
        let mut written: Written = request.read()?;
        if let Some(mac) = request.argument("MAC") {
            written.mac = mac.to_owned();
        }
        if let Some(runtime) = nested(request.conf, &["runtimeConfig"])? {
            let mac: Option<String> = value(runtime, "mac")?;
            written.mac = mac.filter(|mac| !mac.is_empty()).unwrap_or(written.mac);
        }
        if let Some(args) = nested(request.conf, &["args", "cni"])? {
            let more: Option<BTreeMap<String, String>> = value(args, "sysctl")?;
            written.sysctl.extend(more.into_iter().flatten());
            written.mac = value(args, "mac")?.unwrap_or(written.mac);
            written.promisc = value(args, "promisc")?.unwrap_or(written.promisc);
            written.mtu = value(args, "mtu")?.unwrap_or(written.mtu);
            written.allmulti = value(args, "allmulti")?.or(written.allmulti);
            written.tx_queue = value(args, "txQLen")?.or(written.tx_queue);
        }
        written.checked()
    }

    /// The folder of the former settings, whatever else is wrong.
    pub(super) fn data_dir(request: &Request<'_>) -> Result<PathBuf, Failure> {
        let written: Written = request.read()?;
        Ok(written.folder())
    }

    /// Whether an attribute of the interface is set, not only kernel settings.
    pub(super) fn changes_link(&self) -> bool {
        let Conf {
            mac,
            promisc,
            mtu,
            tx_queue,
            all_multicast,
            ..
        } = self;
        *promisc || mac.is_some() || mtu.is_some() || tx_queue.is_some() || all_multicast.is_some()
    }
}

impl Written {
    fn folder(&self) -> PathBuf {
        PathBuf::from(match self.data_dir.as_str() {
            "" => DATA_DIR,
            given => given,
        })
    }

    fn checked(self) -> Result<Conf, Failure> {
        let number = |field: &str, number: i64| {
            u32::try_from(number).map_err(|_| {
                let problem = format!("{number} is out of range; use 1 to {}", u32::MAX);
                Failure::field(field, problem)
            })
        };
        Ok(Conf {
            data_dir: self.folder(),
            sysctl: self.sysctl,
            mac: Mac::read(self.mac)?,
            promisc: self.promisc,
            mtu: Some(number("mtu", self.mtu)?).filter(|mtu| *mtu > 0),
            tx_queue: self
                .tx_queue
                .map(|packets| number("txQLen", packets))
                .transpose()?,
            all_multicast: self.allmulti,
        })
    }
}

impl Mac {
    fn read(text: String) -> Result<Option<Mac>, Failure> {
        if text.is_empty() {
            return Ok(None);
        }
        match cni::hardware::octets(&text) {
            Some(octets) => Ok(Some(Mac { text, octets })),
            None => {
                let problem =
                    format!("{text:?} is no hardware address; write one as 02:00:00:00:00:01");
                Err(Failure::field("mac", problem))
            }
        }
    }
}

/// The object at a path, whose keys are read in any case.
fn nested<'c>(
    conf: &'c Map<String, Value>,
    path: &[&str],
) -> Result<Option<&'c Map<String, Value>>, Failure> {
    let mut object = conf;
    for name in path {
        match key::value_of(object, name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(inner)) => object = inner,
            Some(_) => return Err(Failure::field(path.join("."), "is not an object")),
        }
    }
    Ok(Some(object))
}

fn value<T: DeserializeOwned>(
    object: &Map<String, Value>,
    name: &str,
) -> Result<Option<T>, Failure> {
    let value = key::value_of(object, name).cloned().unwrap_or_default();
    serde_json::from_value(value).map_err(|source| Failure::Configuration { source })
}

/// The file of a kernel setting, in whose name IFNAME stands for the interface.
///
/// # Errors
/// [`Failure::Field`] if it is none of the network.
pub(super) fn setting(name: &str, ifname: &str) -> Result<PathBuf, Failure> {
    // Dots separate the parts of a name, but those in the name of an interface.
    let name = name.replace('.', "/").replacen("IFNAME", ifname, 1);
    let parts = name.split('/').filter(|part| !part.is_empty());
    let path = parts.fold(PathBuf::from("/proc/sys"), |path, part| path.join(part));
    match path.to_string_lossy().starts_with(NETWORK_SETTINGS) {
        true => Ok(path),
        false => Err(Failure::field(
            "sysctl",
            format!("{name} is not a setting of the network; use those below net"),
        )),
    }
}

/// A text in which the name of a kernel setting stands twice: none of them is meant for sure.
///
/// # Errors
/// [`Failure::Configuration`].
pub(super) fn refuse_repeated(stdin: &[u8]) -> Result<(), Failure> {
    let read: Result<Repeats, _> = serde_json::from_slice(stdin);
    read.map(drop)
        .map_err(|source| Failure::Configuration { source })
}

/// A configuration of which only repeated names of settings are of interest.
struct Repeats;

impl<'de> Deserialize<'de> for Repeats {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_map(RepeatsVisitor)
    }
}

struct RepeatsVisitor;

impl<'de> Visitor<'de> for RepeatsVisitor {
    type Value = Repeats;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Repeats, A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if key::is(&name, "sysctl") {
                map.next_value::<Option<Unique>>()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Repeats)
    }
}

/// An object that has each key once.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_map(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of kernel settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
        let mut seen = std::collections::BTreeSet::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if !seen.insert(name.clone()) {
                let problem = format!("sysctl has {name} more than once; write it once");
                return Err(serde::de::Error::custom(problem));
            }
        }
        Ok(Unique)
    }
}

#[cfg(test)]
mod tests;
