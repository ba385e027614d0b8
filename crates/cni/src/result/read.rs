//! From the JSON of any version to [`CniResult`].

use ipnetwork::IpNetwork;
use serde_json::Value;

use super::object::Object;
use super::{CniResult, Dns, Interface, IpConfig, ResultError, Route};
use crate::version::Version;

const INDEX: &str = "the index of an interface";

pub(super) fn result(value: &Value, default: Version) -> Result<CniResult, ResultError> {
    let object = Object::root(value)?;
    let version = match object.text("cniVersion")? {
        Some(text) => text.parse().map_err(|_| {
            let expected = "a supported CNI version (0.1.0 to 1.1.0)";
            object.invalid("cniVersion", expected)
        })?,
        None => default,
    };
    if version.has_legacy_results() {
        families(&object)
    } else {
        lists(&object, version)
    }
}

/// The shape before 0.3.0: `ip4` and `ip6`, each with its routes.
fn families(object: &Object<'_>) -> Result<CniResult, ResultError> {
    let mut result = CniResult {
        dns: dns(object)?,
        ..CniResult::default()
    };
    for (key, is_family, expected) in [
        (
            "ip4",
            IpNetwork::is_ipv4 as fn(&IpNetwork) -> bool,
            "an IPv4 address with a prefix length",
        ),
        (
            "ip6",
            IpNetwork::is_ipv6,
            "an IPv6 address with a prefix length",
        ),
    ] {
        let Some(family) = object.object(key)? else {
            continue;
        };
        let address = family.network("ip")?;
        if !is_family(&address) {
            return Err(family.invalid("ip", expected));
        }
        result.ips.push(IpConfig {
            interface: None,
            address,
            gateway: family.address("gateway")?,
        });
        for entry in family.objects("routes")? {
            result.routes.push(route(&entry)?);
        }
    }
    Ok(result)
}

/// The shape from 0.3.0: lists of interfaces, addresses and routes.
fn lists(object: &Object<'_>, version: Version) -> Result<CniResult, ResultError> {
    Ok(CniResult {
        interfaces: object
            .objects("interfaces")?
            .iter()
            .map(|entry| interface(entry, version))
            .collect::<Result<_, _>>()?,
        ips: object
            .objects("ips")?
            .iter()
            .map(ip)
            .collect::<Result<_, _>>()?,
        routes: object
            .objects("routes")?
            .iter()
            .map(route)
            .collect::<Result<_, _>>()?,
        dns: dns(object)?,
    })
}

fn interface(object: &Object<'_>, version: Version) -> Result<Interface, ResultError> {
    let mut interface = Interface {
        name: match object.text("name")? {
            Some(name) => name.to_owned(),
            None => return Err(object.invalid("name", "the name of an interface")),
        },
        mac: object.owned_text("mac")?,
        sandbox: object.owned_text("sandbox")?,
        ..Interface::default()
    };
    // libcni reads the fields of 1.1 in 1.0 results too, and current plugins print them there.
    if version >= Version::V1_0_0 {
        interface.mtu = object.size("mtu")?;
        interface.socket_path = object.owned_text("socketPath")?;
        interface.pci_id = object.owned_text("pciID")?;
    }
    Ok(interface)
}

fn ip(object: &Object<'_>) -> Result<IpConfig, ResultError> {
    let interface = match object.get("interface") {
        None => None,
        Some(value) => Some(
            value
                .as_u64()
                .and_then(|index| usize::try_from(index).ok())
                .ok_or_else(|| object.invalid("interface", INDEX))?,
        ),
    };
    Ok(IpConfig {
        interface,
        address: object.network("address")?,
        gateway: object.address("gateway")?,
    })
}

/// A route; libcni reads the fields of 1.1 in results of every version.
fn route(object: &Object<'_>) -> Result<Route, ResultError> {
    Ok(Route {
        dst: object.network("dst")?,
        gw: object.address("gw")?,
        mtu: object.size("mtu")?,
        advmss: object.size("advmss")?,
        priority: object
            .integer("priority")?
            .filter(|priority| *priority != 0),
        table: object.integer("table")?,
        scope: object.integer("scope")?,
    })
}

fn dns(object: &Object<'_>) -> Result<Dns, ResultError> {
    let Some(dns) = object.object("dns")? else {
        return Ok(Dns::default());
    };
    Ok(Dns {
        nameservers: dns.texts("nameservers")?,
        domain: dns.owned_text("domain")?,
        search: dns.texts("search")?,
        options: dns.texts("options")?,
    })
}
