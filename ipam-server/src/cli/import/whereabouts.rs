//! `ipamctl import whereabouts`: IPPool objects of whereabouts (whereabouts.cni.cncf.io/v1alpha1).

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use proto::ipam::v1::export_item::Item;
use serde::Deserialize;
use serde_json::Value;

use super::held::{Held, item, leases};
use super::ranges::{self, Range};
use super::send::send;
use crate::cli::error::CliError;
use crate::cli::labels::pod;
use crate::cli::out::Out;
use crate::cli::pool;
use crate::cli::remote::Remote;

/// Takes in what whereabouts holds: each range goes into the pool whose network contains it.
///
/// The IPv4 and IPv6 address of one container and interface become one lease. Without --pool-prefix every range
/// needs a pool that is there; with it the missing ones are made, an IPv4 range and the IPv6 range that most of
/// its containers also hold together. An allocation without ifname, as old versions wrote it, is of net1.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  kubectl get ippools.whereabouts.cni.cncf.io -A -o yaml > ippools.yaml\n  ipamctl import whereabouts ippools.yaml --pool-prefix wb- --dry-run"
)]
pub(crate) struct WhereaboutsArgs {
    /// IPPool objects, YAML or JSON, single or a List; - reads stdin.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Makes the pools that are missing, named with this and their range. Default: they must be there.
    #[arg(long, value_name = "PREFIX")]
    pool_prefix: Option<String>,
    /// VRF of the pools.
    #[arg(long, default_value = "default", value_name = "NAME")]
    vrf: String,
    /// Name of the CNI network configuration. Default: network_name of the IPPool, else its name.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
struct Spec {
    range: String,
    #[serde(default)]
    allocations: BTreeMap<String, Allocation>,
}

#[derive(Deserialize)]
struct Allocation {
    id: String,
    #[serde(default)]
    podref: String,
    #[serde(default)]
    ifname: String,
}

pub(super) async fn run(
    args: WhereaboutsArgs,
    dry_run: bool,
    remote: &Remote,
    out: &mut Out,
) -> Result<(), CliError> {
    let path = args.file.clone();
    let text = tokio::task::spawn_blocking(move || text(&path)).await;
    let text = text
        .unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
        .map_err(|source| CliError::File {
            doing: "read",
            path: args.file.clone(),
            source,
        })?;
    let mut ranges =
        parse(&text, args.network.as_deref()).map_err(|problem| CliError::Content {
            place: args.file.display().to_string(),
            problem,
        })?;
    let present = pool::all(remote, "").await?;
    let made = ranges::place(
        &mut ranges,
        &present,
        &args.vrf,
        args.pool_prefix.as_deref(),
    )
    .map_err(|problem| CliError::argument("--pool-prefix", problem))?;
    let (leases, problems) = leases(ranges.into_iter().flat_map(|range| range.held).collect());
    let pools = made.into_iter().map(|pool| item(Item::Pool(pool)));
    let items: Vec<_> = pools
        .chain(leases.into_iter().map(|lease| item(Item::Lease(lease))))
        .collect();
    let total = items.len() as u64;
    send(
        items.into_iter().map(Ok),
        Some(total),
        dry_run,
        &problems,
        remote,
        out,
    )
    .await
}

fn text(path: &Path) -> std::io::Result<String> {
    if path != Path::new("-") {
        return std::fs::read_to_string(path);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// The ranges of all documents and lists.
fn parse(text: &str, network: Option<&str>) -> Result<Vec<Range>, String> {
    let mut ranges = Vec::new();
    for document in serde_norway::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|error| error.to_string())?;
        let objects = match value {
            Value::Null => continue,
            Value::Array(objects) => objects,
            Value::Object(mut fields) => match fields.remove("items") {
                Some(Value::Array(items)) => items,
                Some(_) => return Err("`items` must be a list".to_owned()),
                None => vec![Value::Object(fields)],
            },
            _ => return Err("it holds no IPPool object".to_owned()),
        };
        for object in objects {
            ranges.push(range(object, network)?);
        }
    }
    match ranges.is_empty() {
        true => Err("it holds no IPPool object".to_owned()),
        false => Ok(ranges),
    }
}

fn range(object: Value, network: Option<&str>) -> Result<Range, String> {
    if let Some(kind) = object.get("kind").and_then(Value::as_str)
        && kind != "IPPool"
    {
        return Err(format!("an object is a {kind}, not an IPPool"));
    }
    let object: Object = serde_path_to_error::deserialize(object)
        .map_err(|error| format!("an IPPool: {}: {}", error.path(), error.inner()))?;
    let name = &object.metadata.name;
    let cidr: IpNetwork = object
        .spec
        .range
        .parse()
        .map_err(|_| format!("IPPool {name}: range {} is not a CIDR", object.spec.range))?;
    let network = network.unwrap_or_else(|| network_name(name, &object.spec.range));
    let mut held = Vec::new();
    for (offset, allocation) in object.spec.allocations {
        let address = address(cidr, &offset).ok_or_else(|| {
            format!("IPPool {name}: allocation {offset} is not an offset in {cidr}")
        })?;
        held.push(Held {
            address,
            prefix: cidr.prefix(),
            pool: String::new(),
            vrf: String::new(),
            container: allocation.id,
            ifname: match allocation.ifname.as_str() {
                "" => "net1".to_owned(),
                given => given.to_owned(),
            },
            network: network.to_owned(),
            pod: pod(&allocation.podref).ok(),
            since: None,
        });
    }
    Ok(Range { cidr, held })
}

/// `network_name` is in front of the range in an IPPool's name, if it is used.
fn network_name<'n>(name: &'n str, range: &str) -> &'n str {
    let plain = range.replace([':', '/'], "-");
    // whereabouts puts a 0 behind a range's closing colons, since a name may not have a - there.
    let closed = range.replace("::/", "::0/").replace([':', '/'], "-");
    [plain, closed]
        .iter()
        .find_map(|range| name.strip_suffix(range.as_str())?.strip_suffix('-'))
        .filter(|network| !network.is_empty())
        .unwrap_or(name)
}

fn address(cidr: IpNetwork, offset: &str) -> Option<IpAddr> {
    let offset: u128 = offset.parse().ok()?;
    let address = match cidr.network() {
        IpAddr::V4(first) => {
            let offset = u32::try_from(offset).ok()?;
            IpAddr::V4(u32::from(first).checked_add(offset)?.into())
        }
        IpAddr::V6(first) => IpAddr::V6(u128::from(first).checked_add(offset)?.into()),
    };
    cidr.contains(address).then_some(address)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &str = r#"
apiVersion: v1
kind: List
items:
- apiVersion: whereabouts.cni.cncf.io/v1alpha1
  kind: IPPool
  metadata: {name: blue-10.20.0.0-24, namespace: kube-system}
  spec:
    range: 10.20.0.0/24
    allocations:
      "7": {id: abc, podref: default/web-0, ifname: net1}
      "8": {id: old}
- kind: IPPool
  metadata: {name: fd00-20---64}
  spec: {range: "fd00:20::/64", allocations: {"7": {id: abc, podref: default/web-0, ifname: net1}}}
"#;

    #[test]
    fn a_list_gives_the_addresses_of_all_ranges() {
        let ranges = parse(LIST, None).expect("a list");
        let held: Vec<_> = ranges
            .iter()
            .flat_map(|range| &range.held)
            .map(|one| {
                (
                    one.address.to_string(),
                    one.network.as_str(),
                    one.pod.is_some(),
                )
            })
            .collect();
        assert_eq!(
            held,
            [
                ("10.20.0.7".to_owned(), "blue", true),
                ("10.20.0.8".to_owned(), "blue", false),
                ("fd00:20::7".to_owned(), "fd00-20---64", true),
            ]
        );
    }

    #[test]
    fn what_is_no_pool_is_told() {
        for (text, part) in [
            ("", "no IPPool"),
            ("kind: Pod", "is a Pod, not an IPPool"),
            (
                "{kind: IPPool, metadata: {name: a}, spec: {range: x}}",
                "range x is not a CIDR",
            ),
            (
                "{metadata: {name: a}, spec: {range: 10.0.0.0/30, allocations: {'4': {id: b}}}}",
                "allocation 4 is not an offset",
            ),
            (
                "{metadata: {name: a}, spec: {}}",
                "an IPPool: spec: missing field `range`",
            ),
        ] {
            let error = parse(text, None).err().unwrap_or_default();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s)[-a-z0-9:{}\\[\\], \n\"./]{0,120}") {
            let _ = parse(&text, None);
        }

        #[test]
        fn no_range_and_offset_makes_the_reader_panic(bits in any::<u128>(), prefix in 0u8..=128, offset in any::<u128>()) {
            let cidr = IpNetwork::new(IpAddr::V6(bits.into()), prefix).expect("a prefix");
            if let Some(address) = address(cidr, &offset.to_string()) {
                prop_assert!(cidr.contains(address));
            }
        }
    }
}
