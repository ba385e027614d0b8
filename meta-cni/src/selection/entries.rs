//! What is inside of `portMappings` and `bandwidth`: what portmap and bandwidth read, with the ranges of
//! their types. A missing key, and other keys, are left to the plugins that know them.

use std::net::IpAddr;

use cni::key;
use serde_json::{Map, Value};

/// The largest rate that fits every plugin's type, a signed number of 64 bits.
const LARGEST_RATE: u64 = i64::MAX.unsigned_abs();
/// The largest burst in bits: the kernel counts its bytes in 32 bits (linux/pkt_sched.h, `tc_tbf_qopt`).
const LARGEST_BURST: u64 = 8 * (u32::MAX as u64) - 1;

/// What is wrong with one port mapping: the key, and the problem.
pub(super) fn port_mapping_problems(entry: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let port = |name| {
        let value = present(entry, name);
        (
            name,
            value.and_then(|value| number_problem(value, 1, u64::from(u16::MAX))),
        )
    };
    let protocol = present(entry, "protocol").and_then(|value| match value.as_str() {
        Some("") => None,
        Some(text) => {
            let known = ["tcp", "udp", "sctp"].contains(&text.to_ascii_lowercase().as_str());
            (!known).then(|| format!("{text:?} is not tcp, udp or sctp"))
        }
        None => Some("must be a string".to_owned()),
    });
    let host_ip = present(entry, "hostIP").and_then(|value| match value.as_str() {
        Some("") => None,
        Some(text) if text.parse::<IpAddr>().is_ok() => None,
        _ => Some(format!("{value} is not an IP address")),
    });
    named([
        port("hostPort"),
        port("containerPort"),
        ("protocol", protocol),
        ("hostIP", host_ip),
    ])
}

/// What is wrong with the bandwidth: the key, and the problem.
pub(super) fn bandwidth_problems(limits: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let limit = |name, most| {
        let value = present(limits, name);
        (name, value.and_then(|value| number_problem(value, 0, most)))
    };
    named([
        limit("ingressRate", LARGEST_RATE),
        limit("ingressBurst", LARGEST_BURST),
        limit("egressRate", LARGEST_RATE),
        limit("egressBurst", LARGEST_BURST),
    ])
}

/// The value of a key, unless it is absent or `null`.
fn present<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    key::value_of(object, name).filter(|value| !value.is_null())
}

fn number_problem(value: &Value, least: u64, most: u64) -> Option<String> {
    let good = value
        .as_u64()
        .is_some_and(|number| (least..=most).contains(&number));
    (!good).then(|| format!("{value} is not a whole number from {least} to {most}"))
}

fn named<const N: usize>(keys: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    keys.into_iter()
        .filter_map(|(name, problem)| Some((name, problem?)))
        .collect()
}
