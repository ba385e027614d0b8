//! `ipamctl explain`: what `lease allocate` would allocate, and why.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use proto::ipam::v1::{ExplainRequest, ExplainStep, Pool};

use super::allocate::AllocateFlags;
use super::error::CliError;
use super::lease::table::addresses;
use super::listing::Listing;
use super::out::{Column, Out};
use super::pool;
use super::remote::Remote;

/// Shows what `lease allocate` would allocate and why, or why nothing. Changes nothing.
///
/// With an address and no pool: the pools whose networks contain the address. Exit code 1 if nothing would be allocated.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ipamctl explain --pool blue --pool overflow\n  ipamctl explain 10.20.0.7"
)]
pub(crate) struct ExplainArgs {
    /// Address to ask for, as with --ip.
    address: Option<IpAddr>,
    #[command(flatten)]
    request: AllocateFlags,
}

const COLUMNS: &[Column<ExplainStep>] = &[
    Column {
        heading: "POOL",
        wide: false,
        cell: |at, _| at.pool.clone(),
    },
    Column {
        heading: "REASON",
        wide: false,
        cell: |at, _| at.reason.clone(),
    },
    Column {
        heading: "FINDING",
        wide: false,
        cell: |at, _| at.finding.clone(),
    },
];

pub(crate) async fn run(args: ExplainArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let mut request = args.request.into_request();
    request.ips.extend(args.address.map(|ip| ip.to_string()));
    if request.pools.is_empty() {
        request.pools = holding(remote, &request.ips).await?;
    }
    if let Some(owner) = request.owner.as_mut()
        && *owner == proto::ipam::v1::Owner::default()
    {
        // An owner must have a name; this one holds nothing.
        owner.claim = "ipamctl-explain".to_owned();
    }
    let request = remote.request(ExplainRequest {
        request: Some(request),
    });
    let explained = remote
        .answer(remote.leases().await?.explain(request))
        .await?;
    if out.is_for_programs() {
        out.value(&explained)?;
    } else {
        let mut listing = Listing::new(out, "steps", COLUMNS);
        listing.page(&explained.steps)?;
        listing.finish()?;
    }
    match explained.would_give.and_then(|answer| answer.lease) {
        Some(_) if out.is_for_programs() => Ok(()),
        Some(lease) => {
            let addresses = addresses(&lease);
            let pool = lease.pool;
            out.text(&format!("would allocate {addresses} of pool {pool}\n"))
        }
        None => Err(CliError::Incomplete {
            what: "nothing would be allocated".to_owned(),
        }),
    }
}

/// The pools whose networks hold one of the addresses.
async fn holding(remote: &Remote, ips: &[String]) -> Result<Vec<String>, CliError> {
    let addresses: Vec<IpAddr> = ips
        .iter()
        .filter_map(|ip| ip.split('/').next()?.parse().ok())
        .collect();
    if addresses.is_empty() {
        return Err(CliError::argument("--pool", "name a pool, or an address"));
    }
    let pools = pool::all(remote, "").await?;
    let names: Vec<_> = pools
        .into_iter()
        .filter(|pool| addresses.iter().any(|address| holds(pool, *address)))
        .map(|pool| pool.name)
        .collect();
    match names.is_empty() {
        true => Err(CliError::NotFound {
            what: format!(
                "no pool holds {}; `ipamctl pool list` shows them",
                ips.join(", ")
            ),
        }),
        false => Ok(names),
    }
}

/// Whether an address is of a pool's networks.
fn holds(pool: &Pool, address: IpAddr) -> bool {
    [&pool.ipv4, &pool.ipv6]
        .into_iter()
        .flatten()
        .filter_map(|subnet| subnet.cidr.parse::<IpNetwork>().ok())
        .any(|network| network.contains(address))
}
