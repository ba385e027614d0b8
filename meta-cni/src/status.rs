//! What people are told of a pod's attachments: the network-status annotation, and addresses as text.
//!
//! Pure: takes results, gives texts. Keys, their order and their omission are those of `NetworkStatus`
//! in network-attachment-definition-client v1.7.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::PrettyFormatter;

use crate::cni::result::{CniResult, Interface};

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
/// Each interface with a sandbox gives one element; an attachment whose result names none gives one
/// element with its `ifname` and all its addresses. Addresses that belong to no interface go to the first
/// one; addresses of interfaces on the host are left out. The first element of the first default
/// attachment, and no other, has `default: true`.
pub fn network_status(attachments: &[AttachmentStatus<'_>]) -> String {
    let mut elements: Vec<Element<'_>> = Vec::new();
    let mut default_is_set = false;
    for attachment in attachments {
        let first = elements.len();
        elements.extend(elements_of(attachment));
        if attachment.is_default
            && !default_is_set
            && let Some(element) = elements.get_mut(first)
        {
            element.default = true;
            default_is_set = true;
        }
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
