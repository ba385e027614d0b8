//! From [`CniResult`] to the JSON of any version, with the keys and omissions of libcni 1.3.

use serde_json::{Map, Value};

use super::{CniResult, Dns, Interface, IpConfig, ResultError, Route};
use crate::version::Version;

type Object = Map<String, Value>;

pub(super) fn result(result: &CniResult, version: Version) -> Result<Value, ResultError> {
    let mut object = Object::new();
    put(&mut object, "cniVersion", version.as_str());
    if version.has_legacy_results() {
        families(result, version, &mut object)?;
    } else {
        put_list(
            &mut object,
            "interfaces",
            result.interfaces.iter().map(|one| interface(one, version)),
        );
        put_list(
            &mut object,
            "ips",
            result.ips.iter().map(|one| ip(one, version)),
        );
        put_list(&mut object, "routes", result.routes.iter().map(route));
    }
    // Before 1.0.0 a result has `dns` even if it is empty.
    if version < Version::V1_0_0 || !result.dns.is_empty() {
        object.insert("dns".to_owned(), dns(&result.dns));
    }
    Ok(Value::Object(object))
}

/// `dns` as an object without its empty keys.
pub(super) fn dns(dns: &Dns) -> Value {
    let mut object = Object::new();
    put_list(&mut object, "nameservers", dns.nameservers.iter().cloned());
    put_text(&mut object, "domain", dns.domain.as_deref());
    put_list(&mut object, "search", dns.search.iter().cloned());
    put_list(&mut object, "options", dns.options.iter().cloned());
    Value::Object(object)
}

/// `ip4` and `ip6`: the first address of each family, and the routes of its family.
fn families(result: &CniResult, version: Version, object: &mut Object) -> Result<(), ResultError> {
    if result.ips.is_empty() {
        return Err(ResultError::NoAddress { version });
    }
    for (key, is_ipv4) in [("ip4", true), ("ip6", false)] {
        let first = result.ips.iter().find(|ip| ip.address.is_ipv4() == is_ipv4);
        let Some(first) = first else { continue };
        let routes = result
            .routes
            .iter()
            .filter(|route| route.dst.is_ipv4() == is_ipv4);
        let mut family = Object::new();
        put(&mut family, "ip", first.address.to_string());
        put_some(
            &mut family,
            "gateway",
            first.gateway.map(|gw| gw.to_string()),
        );
        put_list(&mut family, "routes", routes.map(next_hop));
        put(object, key, family);
    }
    Ok(())
}

fn interface(interface: &Interface, version: Version) -> Value {
    let mut object = Object::new();
    put(&mut object, "name", interface.name.as_str());
    put_text(&mut object, "mac", interface.mac.as_deref());
    // libcni has one type for 1.0 and 1.1, and so keeps the fields of 1.1 in 1.0.
    if version >= Version::V1_0_0 {
        put_size(&mut object, "mtu", interface.mtu);
    }
    put_text(&mut object, "sandbox", interface.sandbox.as_deref());
    if version >= Version::V1_0_0 {
        put_text(&mut object, "socketPath", interface.socket_path.as_deref());
        put_text(&mut object, "pciID", interface.pci_id.as_deref());
    }
    Value::Object(object)
}

fn ip(ip: &IpConfig, version: Version) -> Value {
    let mut object = Object::new();
    if version < Version::V1_0_0 {
        let family = if ip.address.is_ipv4() { "4" } else { "6" };
        put(&mut object, "version", family);
    }
    put_some(&mut object, "interface", ip.interface);
    put(&mut object, "address", ip.address.to_string());
    put_some(&mut object, "gateway", ip.gateway.map(|gw| gw.to_string()));
    Value::Object(object)
}

/// A route with all its fields: libcni has one type of route for all versions from 0.3.0.
fn route(route: &Route) -> Value {
    let mut object = next_hop(route);
    put_size(&mut object, "mtu", route.mtu);
    put_size(&mut object, "advmss", route.advmss);
    put_some(
        &mut object,
        "priority",
        route.priority.filter(|priority| *priority != 0),
    );
    put_some(&mut object, "table", route.table);
    put_some(&mut object, "scope", route.scope);
    Value::Object(object)
}

/// What every version says of a route.
fn next_hop(route: &Route) -> Object {
    let mut object = Object::new();
    put(&mut object, "dst", route.dst.to_string());
    put_some(&mut object, "gw", route.gw.map(|gw| gw.to_string()));
    object
}

fn put(object: &mut Object, key: &str, value: impl Into<Value>) {
    object.insert(key.to_owned(), value.into());
}

fn put_some(object: &mut Object, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        put(object, key, value);
    }
}

fn put_text(object: &mut Object, key: &str, text: Option<&str>) {
    put_some(object, key, text.filter(|text| !text.is_empty()));
}

fn put_size(object: &mut Object, key: &str, size: Option<u32>) {
    put_some(object, key, size.filter(|size| *size != 0));
}

fn put_list(object: &mut Object, key: &str, values: impl Iterator<Item = impl Into<Value>>) {
    let values: Vec<Value> = values.map(Into::into).collect();
    if !values.is_empty() {
        put(object, key, values);
    }
}
