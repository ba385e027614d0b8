//! What people see of a pod's attachments: the network-status annotation, and addresses as text.
//!
//! Pure: takes results, gives texts. Keys, their order and their omission are those of `NetworkStatus`
//! in network-attachment-definition-client v1.7.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::IpAddr;

use cni::result::{CniResult, Interface};
use ipnetwork::IpNetwork;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::PrettyFormatter;

/// What network-status needs to know of one attachment.
#[derive(Clone, Copy, Debug)]
pub struct AttachmentStatus<'a> {
    /// `<namespace>/<nad>`, or the name of the configuration if there is no NAD.
    pub name: &'a str,
    /// The interface name that the delegate was given.
    pub ifname: &'a str,
    /// What the delegate answered.
    pub result: &'a CniResult,
    /// Whether this is the pod's default network.
    pub is_default: bool,
    /// The device behind the interface, as its device info file has it.
    pub device_info: Option<&'a Value>,
}

/// One element of the annotation.
#[derive(Serialize)]
struct Element<'a> {
    name: &'a str,
    interface: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    /// There even if it says nothing, as in the client library.
    dns: Value,
    #[serde(rename = "device-info", skip_serializing_if = "Option::is_none")]
    device_info: Option<&'a Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gateway: Vec<String>,
}

/// The value of the annotation `k8s.v1.cni.cncf.io/network-status`: a JSON list, indented by 4 spaces.
///
/// Each interface with a sandbox is one element. An attachment whose result names none is one element with
/// its `ifname` and all its addresses; it is no element if the result has no address and does not name
/// `ifname`: a plugin such as istio-cni makes no interface. Addresses that belong to no interface go to the
/// first one; addresses of interfaces on the host are left out.
///
/// Of the first default attachment, and of no other, one element has `default: true`: that of the first
/// interface that has an address with a gateway, else the first element.
pub fn network_status(attachments: &[AttachmentStatus<'_>]) -> String {
    let mut elements: Vec<Element<'_>> = Vec::new();
    let mut default_is_set = false;
    for attachment in attachments {
        let mut own = elements_of(attachment);
        if attachment.is_default && !default_is_set {
            let with_gateway = interface_with_gateway(attachment.result);
            let default = own
                .iter()
                .position(|element| Some(element.interface) == with_gateway)
                .unwrap_or(0);
            if let Some(element) = own.get_mut(default) {
                element.default = true;
                default_is_set = true;
            }
        }
        elements.extend(own);
    }
    let texts: Vec<String> = elements.iter().map(pretty).collect();
    format!("[{}]", texts.join(","))
}

/// The addresses of a result for a person: `10.1.0.5/24, fd00::5/64`, or `no address`.
pub fn summary(result: &CniResult) -> String {
    if result.ips.is_empty() {
        return "no address".to_owned();
    }
    let addresses: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    addresses.join(", ")
}

/// The interface in the sandbox that has the first address with a gateway
/// (`gatewayInterfaceIndex` of the client library).
fn interface_with_gateway(result: &CniResult) -> Option<&str> {
    let with_gateway = result.ips.iter().filter(|ip| ip.gateway.is_some());
    with_gateway
        .filter_map(|ip| result.interfaces.get(ip.interface?))
        .find(|interface| interface.sandbox.is_some())
        .map(|interface| interface.name.as_str())
}

fn elements_of<'a>(attachment: &AttachmentStatus<'a>) -> Vec<Element<'a>> {
    let result = attachment.result;
    let gateway = default_gateways(result);
    let element =
        |interface: &'a str, described: Option<&'a Interface>, ips: Vec<String>| Element {
            name: attachment.name,
            interface,
            ips,
            mac: described.and_then(|interface| interface.mac.as_deref()),
            mtu: described.and_then(|interface| interface.mtu),
            default: false,
            dns: result.dns.to_value(),
            device_info: attachment.device_info,
            gateway: gateway.clone(),
        };

    let in_sandbox: Vec<(usize, &Interface)> = result
        .interfaces
        .iter()
        .enumerate()
        .filter(|(_, interface)| interface.sandbox.is_some())
        .collect();
    let Some((first, _)) = in_sandbox.first().copied() else {
        let described = result
            .interfaces
            .iter()
            .find(|interface| interface.name == attachment.ifname);
        if described.is_none() && result.ips.is_empty() {
            return Vec::new();
        }
        let ips = addresses_where(result, |_| true);
        return vec![element(attachment.ifname, described, ips)];
    };
    in_sandbox
        .into_iter()
        .map(|(index, interface)| {
            let ips = addresses_where(result, |owner| owner.unwrap_or(first) == index);
            element(&interface.name, Some(interface), ips)
        })
        .collect()
}

/// The addresses, without prefix length, whose interface index is wanted.
fn addresses_where(result: &CniResult, wanted: impl Fn(Option<usize>) -> bool) -> Vec<String> {
    result
        .ips
        .iter()
        .filter(|ip| wanted(ip.interface))
        .map(|ip| ip.address.ip().to_string())
        .collect()
}

/// The gateways of the default routes, each once: the route's own, else that of the first address of
/// its family that has one.
fn default_gateways(result: &CniResult) -> Vec<String> {
    let mut seen = HashSet::new();
    result
        .routes
        .iter()
        .filter(|route| is_default_route(&route.dst))
        .filter_map(|route| route.gw.or_else(|| subnet_gateway(result, &route.dst)))
        .filter(|gateway| seen.insert(*gateway))
        .map(|gateway| gateway.to_string())
        .collect()
}

fn is_default_route(destination: &IpNetwork) -> bool {
    destination.prefix() == 0
}

fn subnet_gateway(result: &CniResult, destination: &IpNetwork) -> Option<IpAddr> {
    result
        .ips
        .iter()
        .filter(|ip| ip.address.is_ipv4() == destination.is_ipv4())
        .find_map(|ip| ip.gateway)
}

/// JSON indented by 4 spaces, which `kubectl describe` shows as it is.
#[expect(
    clippy::expect_used,
    reason = "all keys are texts, and writing to memory does not fail"
)]
fn pretty(element: &Element<'_>) -> String {
    let mut text = Vec::new();
    let indent = PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, indent);
    element
        .serialize(&mut serializer)
        .expect("serialisation to memory");
    String::from_utf8(text).expect("serde_json writes UTF-8")
}
