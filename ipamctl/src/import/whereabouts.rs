//! `ipamctl import whereabouts`: what whereabouts keeps in a cluster (whereabouts.cni.cncf.io/v1alpha1), with the
//! networks and pods that say what it does not.

mod addresses;
mod decode;
mod dump;
mod filing;
mod names;
mod networks;
mod pods;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use proto::ipam::v1::Lease;
use proto::ipam::v1::export_item::Item;

use super::held::{Held, item, leases};
use super::ranges::{self, Destinations};
use super::send::{Beside, send};
use super::source::{Gone, LABEL, Source, addresses_of, release_gone};
use crate::error::CliError;
use crate::lease::list::term;
use crate::out::Out;
use crate::pool;
use crate::remote::Remote;
use addresses::Found;
use dump::Dump;

const EXAMPLES: &str = "\
Example:
  kubectl get -A -o json ippools.whereabouts.cni.cncf.io,overlappingrangeipreservations.whereabouts.cni.cncf.io,\
nodeslicepools.whereabouts.cni.cncf.io,network-attachment-definitions.k8s.cni.cncf.io,pods > dump.json
  ipamctl import whereabouts dump.json --pool-prefix wb- --dry-run

Leave out the kinds that the cluster does not have.";

/// Imports the addresses that whereabouts holds: each range goes into the pool whose network contains the range.
///
/// The IPv4 and IPv6 address of one container and interface become one lease. An entry that cannot be read is
/// reported on stderr with its place and left out. Without --pool-prefix, every range needs an existing pool; with
/// --pool-prefix, the missing pools are made: one pool for a range, the ranges inside of it, and the IPv6 range of the same
/// networks or containers. NetworkAttachmentDefinitions in the file set ranges, excludes, gateway and routes of the pools,
/// and the network by which DEL and GC find the leases; pods in the file set the node of the leases. Repeat the import
/// later: leases end whose allocation is gone from a range of the file. Exit code 1 if an address is not imported.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WhereaboutsArgs {
    /// IPPool, OverlappingRangeIPReservation, NodeSlicePool, NetworkAttachmentDefinition and Pod objects, JSON or
    /// YAML; - reads stdin.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Makes the missing pools, named with this prefix and their range. [default: all pools must exist]
    #[arg(long, value_name = "PREFIX")]
    pool_prefix: Option<String>,
    /// VRF of all pools. [default: network_name of a range, else default]
    #[arg(long, value_name = "NAME")]
    vrf: Option<String>,
    /// Network of all leases, by which DEL finds them. [default: the network of the NetworkAttachmentDefinition, else
    /// network_name, else the IPPool's name]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Cluster of the file, where one server serves several clusters. [default: none]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    cluster: String,
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
    let dump = Dump::read(&text).map_err(|problem| CliError::Content {
        place: args.file.display().to_string(),
        problem,
    })?;
    let mut found = addresses::find(&dump, &args);
    let present = pool::all(remote, "").await?;
    let destinations = ranges::destinations(
        &found.ranges,
        &found.held,
        &present,
        args.pool_prefix.as_deref(),
    )
    .map_err(|problem| CliError::argument("--pool-prefix", problem))?;
    let mut beside = Beside {
        problems: dump.problems.clone(),
        notes: dump.notes(),
        released: 0,
    };
    beside.notes.append(&mut found.notes);
    beside.notes.extend(destinations.notes.iter().cloned());
    beside.problems.append(&mut found.problems);
    let gone = release(&dump, &found, &args.cluster, dry_run, remote).await?;
    beside.released = gone.released;
    beside.notes.extend(gone.stays);
    let (leases, rest) = leases(placed(found.held, &destinations, &mut beside.problems));
    beside.problems.extend(rest);
    let pools = destinations
        .made
        .into_iter()
        .map(|pool| item(Item::Pool(pool)));
    let items: Vec<_> = pools
        .chain(leases.into_iter().map(|lease| item(Item::Lease(lease))))
        .collect();
    let total = items.len() as u64;
    send(
        items.into_iter().map(Ok),
        Some(total),
        dry_run,
        beside,
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

/// What is held, with its pools; a sentence for each address that is of no pool.
fn placed(held: Vec<Held>, destinations: &Destinations, problems: &mut Vec<String>) -> Vec<Held> {
    let placed = |mut one: Held| match destinations.of(&one.vrf, one.address) {
        Some(destination) => {
            one.destination = destination;
            Some(one)
        }
        None => {
            problems.push(format!(
                "{}: no range of the file and no pool of VRF {} contains it",
                one.address, one.vrf
            ));
            None
        }
    };
    held.into_iter().filter_map(placed).collect()
}

/// Ends leases of an earlier import that whereabouts does not have any more, in the ranges of the file. Leases that were
/// read from a reservation end only if the file has reservations.
async fn release(
    dump: &Dump,
    found: &Found,
    cluster: &str,
    dry_run: bool,
    remote: &Remote,
) -> Result<Gone, CliError> {
    let ranges: BTreeSet<(&str, IpNetwork)> = found
        .covered
        .iter()
        .map(|(vrf, cidr)| (vrf.as_str(), *cidr))
        .collect();
    let covers = |lease: &Lease| {
        let mut addresses = addresses_of(lease);
        addresses.all(|address| {
            let contains =
                |(vrf, cidr): &(&str, IpNetwork)| *vrf == lease.vrf && cidr.contains(address);
            ranges.iter().any(contains)
        })
    };
    let mut gone = Gone::default();
    for source in [Source::Whereabouts, Source::WhereaboutsReservation] {
        if source == Source::WhereaboutsReservation && dump.reservations.is_empty() {
            continue;
        }
        let filter = [
            ("state", "ACTIVE"),
            (&format!("labels.{LABEL}"), source.name()),
            ("owner.cluster", cluster),
        ]
        .map(|(field, value)| term(field, value))
        .join(" AND ");
        let more = release_gone(filter, covers, &found.holdings, dry_run, remote).await?;
        gone.released += more.released;
        gone.stays.extend(more.stays);
    }
    Ok(gone)
}
