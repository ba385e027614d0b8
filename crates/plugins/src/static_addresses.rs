//! `static`: the addresses that the configuration or the caller names. As the reference plugin, section "ipam/static".

use std::net::IpAddr;

use cni::result::{CniResult, IpConfig};
use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::ipam_conf::{self, ROUTES};
use crate::notation;
use crate::plugin::{Plugin, Request};
use crate::shape::{Others, Shape};

const KEYS: &[(&str, Shape)] = &[
    (
        "ipam",
        Shape::Object(&[
            ("type", Shape::Any),
            ("name", Shape::Any),
            ("routes", ROUTES),
            (
                "addresses",
                Shape::List(&Shape::Object(&[
                    ("address", Shape::Any),
                    ("gateway", Shape::Any),
                    ("version", Shape::Any),
                ])),
            ),
            (
                "dns",
                Shape::Object(&[
                    ("nameservers", Shape::Any),
                    ("domain", Shape::Any),
                    ("search", Shape::Any),
                    ("options", Shape::Any),
                ]),
            ),
        ]),
    ),
    ("args", Shape::Any),
    ("runtimeConfig", Shape::Any),
];

/// `ipam`.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    addresses: Vec<WrittenAddress>,
    #[serde(default)]
    routes: Value,
    #[serde(default)]
    dns: Value,
}

#[derive(Deserialize)]
struct WrittenAddress {
    #[serde(default)]
    address: String,
    #[serde(default)]
    gateway: String,
}

pub(crate) struct Static;

impl Plugin for Static {
    fn kind(&self) -> &'static str {
        "static"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn other_keys(&self) -> Others {
        Others::Ignored
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        read(request).map(drop)
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        read(request)
    }

    fn del(&self, _request: &Request<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        let configured = read(request)?;
        let made = request.needed_prev_result()?;
        for ip in &configured.ips {
            let same = |one: &&IpConfig| one.address.ip() == ip.address.ip();
            let Some(found) = made.ips.iter().find(same) else {
                continue;
            };
            if ip.gateway.is_some() && ip.gateway != found.gateway {
                let what = format!("prevResult has another gateway of {}", ip.address);
                return Err(Failure::changed(what));
            }
        }
        Ok(())
    }

    fn status(&self, _request: &Request<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn gc(&self, _request: &Request<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// The result of an ADD.
fn read(request: &Request<'_>) -> Result<CniResult, Failure> {
    let written: Written = ipam_conf::ipam(request)?;
    let requested = ipam_conf::requested(request)?;
    let mut result = ipam_conf::result_of(&written.routes, &written.dns)?;
    // The last of these counts alone; what CNI_ARGS has comes beside what is configured.
    result.ips = if !requested.by_runtime.is_empty() {
        of_texts(
            "runtimeConfig.ips",
            requested.by_runtime.iter().map(String::as_str),
        )?
    } else if !requested.by_args.is_empty() {
        of_texts("args.cni.ips", requested.by_args.iter().map(String::as_str))?
    } else {
        let mut ips = configured(&written.addresses)?;
        ips.extend(of_environment(request)?);
        ips
    };
    let of_v4 = result.ips.iter().filter(|ip| ip.address.is_ipv4()).count();
    if request.version.has_legacy_results() && (of_v4 > 1 || result.ips.len() - of_v4 > 1) {
        let problem = format!(
            "CNI version {} has one address of each family only; use 0.3.1 or newer, or fewer addresses",
            request.version
        );
        return Err(Failure::field("ipam.addresses", problem));
    }
    Ok(result)
}

fn configured(written: &[WrittenAddress]) -> Result<Vec<IpConfig>, Failure> {
    let read = written.iter().enumerate().map(|(at, one)| {
        let field = format!("ipam.addresses[{at}]");
        let mut ip = IpConfig::of(network(&format!("{field}.address"), &one.address)?);
        if !one.gateway.is_empty() {
            ip.gateway = Some(address(&format!("{field}.gateway"), &one.gateway)?);
        }
        Ok(ip)
    });
    read.collect()
}

/// `IP` and `GATEWAY` of CNI_ARGS, each a list with commas. A gateway is that of all subnets of `IP` that it is in.
fn of_environment(request: &Request<'_>) -> Result<Vec<IpConfig>, Failure> {
    let listed = |key: &str| {
        request
            .argument(key)
            .into_iter()
            .flat_map(|list| list.split(','))
    };
    let mut ips = of_texts("IP of CNI_ARGS", listed("IP").map(str::trim))?;
    for text in listed("GATEWAY") {
        let gateway = address("GATEWAY of CNI_ARGS", text.trim())?;
        for ip in ips.iter_mut().filter(|ip| ip.address.contains(gateway)) {
            ip.gateway = Some(gateway);
        }
    }
    Ok(ips)
}

fn of_texts<'t>(
    field: &str,
    texts: impl Iterator<Item = &'t str>,
) -> Result<Vec<IpConfig>, Failure> {
    texts
        .map(|text| network(field, text).map(IpConfig::of))
        .collect()
}

fn network(field: &str, text: &str) -> Result<IpNetwork, Failure> {
    notation::network(text).ok_or_else(|| {
        let problem = format!("{text:?} is not an address with its prefix, such as 10.1.2.3/24");
        Failure::field(field, problem)
    })
}

fn address(field: &str, text: &str) -> Result<IpAddr, Failure> {
    notation::address(text).ok_or_else(|| {
        Failure::field(
            field,
            format!("{text:?} is not an address such as 10.1.2.1"),
        )
    })
}
