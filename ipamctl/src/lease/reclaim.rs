//! `ipamctl lease reclaim`: ends leases whose pods or containers are gone.

mod live;

use std::path::PathBuf;

use jiff::Timestamp;
use pbjson_types::Duration;
use proto::ipam::v1::{Attachment, Lease, Owner, ReclaimOrphansRequest, ReclaimOrphansResponse};
use serde::Serialize;

use super::table;
use crate::confirm::confirm;
use crate::error::CliError;
use crate::lease::list::term;
use crate::listing::Listing;
use crate::note::{note, note_dry_run};
use crate::out::{Column, Out};
use crate::remote::Remote;
use live::{Life, Live};

const EXAMPLES: &str = "\
Examples:
  kubectl get pods -A -o json > pods.json; ipamctl lease reclaim pods.json
  crictl pods -o json | ipamctl lease reclaim - --node n1 --yes

Run it twice, at least --grace-seconds apart, each time with a new list.";

/// So many may end whatever share of all leases they are.
const FEW: usize = 10;
/// Attachments that fit into one request (4 MiB).
const LISTED: usize = 40_000;

/// Ends leases whose pods or containers are gone: a lease ends when two lists, a minute apart, miss its holder.
///
/// The list has Kubernetes' pods or the containers of one node. Leases that the list cannot judge stay: leases of another
/// cluster, leases made after the list, leases without a container. Pods that have ended (Succeeded, Failed) are gone. If
/// all pods of the list are of one namespace, only leases of that namespace are checked. The first run remembers the missed
/// leases in the server's memory; a later run ends the leases that are missed again and unchanged. Asks before a lease ends.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReclaimArgs {
    /// The existing pods or containers: JSON or YAML of `kubectl get pods -A` or `crictl pods`, or lines that are
    /// NAMESPACE/NAME or a container ID each; - reads stdin.
    #[arg(value_name = "FILE")]
    live: PathBuf,
    /// Only leases of this node. Required for a list of containers.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Only leases of this network.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Cluster of the list, where one server serves several clusters. [default: none]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    cluster: String,
    /// The minimum time between the two runs that miss a lease, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(60..))]
    grace_seconds: u32,
    /// Ends nothing if more than this share of the checked leases would end, and more than 10 leases.
    #[arg(long, default_value_t = 50, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    at_most_percent: u8,
    /// Does not ask for confirmation.
    #[arg(short, long)]
    yes: bool,
    /// Only shows which leases would end; changes and remembers nothing.
    #[arg(long)]
    dry_run: bool,
}

/// A lease that the list misses.
#[derive(Serialize)]
struct Missed {
    /// Whether it ended, or would.
    ended: bool,
    lease: Lease,
}

const COLUMNS: &[Column<Missed>] = &[
    Column {
        heading: "VERDICT",
        wide: false,
        cell: |at, _| if at.ended { "RECLAIMED" } else { "SUSPECTED" }.to_owned(),
    },
    Column {
        heading: "ID",
        wide: false,
        cell: |at, _| at.lease.id.clone(),
    },
    Column {
        heading: "POOL",
        wide: false,
        cell: |at, _| at.lease.pool.clone(),
    },
    Column {
        heading: "ADDRESSES",
        wide: false,
        cell: |at, _| table::addresses(&at.lease),
    },
    Column {
        heading: "HOLDER",
        wide: false,
        cell: |at, _| table::holder(at.lease.owner.as_ref()),
    },
    Column {
        heading: "INTERFACE",
        wide: false,
        cell: |at, _| owner(&at.lease).ifname,
    },
    Column {
        heading: "NODE",
        wide: false,
        cell: |at, _| owner(&at.lease).node,
    },
    Column {
        heading: "NETWORK",
        wide: true,
        cell: |at, _| owner(&at.lease).network,
    },
];

pub(super) async fn run(args: ReclaimArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let (path, cluster) = (args.live.clone(), args.cluster.clone());
    let live = tokio::task::spawn_blocking(move || Live::read(&path, &cluster)).await;
    let live = live.unwrap_or_else(|stopped| {
        Err(CliError::File {
            doing: "read",
            path: args.live.clone(),
            source: std::io::Error::other(stopped),
        })
    })?;
    if live.needs_node() && args.node.is_none() {
        return Err(CliError::argument(
            "--node",
            "the list has containers only, which are of one node; name the node",
        ));
    }
    let leases = leases(&args, remote).await?;
    let judged = judge(&leases, &live);
    if judged.alive.len() > LISTED {
        return Err(CliError::argument(
            "--node",
            format!("more than {LISTED} leases stay, too many for one request; go node by node"),
        ));
    }
    note_unknown(&judged);
    let request = ReclaimOrphansRequest {
        node: args.node.clone().unwrap_or_default(),
        network: args.network.clone().unwrap_or_default(),
        attachments: judged.alive,
        grace: Some(Duration {
            seconds: args.grace_seconds.into(),
            nanos: 0,
        }),
        validate_only: true,
    };
    let would = ask(&request, remote).await?;
    let pending = usize::try_from(would.pending_count).unwrap_or(usize::MAX);
    let ending = would.reclaimed.len().saturating_add(pending);
    if ending > FEW && ending * 100 > judged.looked_at * usize::from(args.at_most_percent) {
        return Err(CliError::Incomplete {
            what: format!(
                "{ending} of {} leases would end: is the list whole? --at-most-percent allows more; nothing was changed",
                judged.looked_at
            ),
        });
    }
    if args.dry_run {
        show(&would, out)?;
        note_dry_run(true);
        return Ok(());
    }
    if ending > 0 {
        let question = match &would.reclaimed[..] {
            [one] if ending == 1 => format!("End {}?", table::phrase(one)),
            _ => format!("End {ending} leases whose pods or containers are gone?"),
        };
        confirm(args.yes, &question).await?;
    }
    let done = reclaim(request, remote).await?;
    show(&done, out)?;
    if done.suspected_count > 0 {
        note(&format!(
            "{} leases are missed; those that a new list misses too, {} s from now or later, end",
            done.suspected_count, args.grace_seconds
        ));
    }
    Ok(())
}

/// All leases of attachments that the flags allow.
async fn leases(args: &ReclaimArgs, remote: &Remote) -> Result<Vec<Lease>, CliError> {
    let equal = [
        ("state", Some("ACTIVE")),
        ("owner.node", args.node.as_deref()),
        ("owner.network", args.network.as_deref()),
    ];
    let terms = equal
        .into_iter()
        .filter_map(|(field, value)| Some(term(field, value?)));
    let filter = terms.collect::<Vec<_>>().join(" AND ");
    let leases = remote.leases_matching(filter).await?.into_iter();
    Ok(leases
        .filter(|lease| !owner(lease).container_id.is_empty())
        .collect())
}

/// Leases, as a list judges them.
#[derive(Debug, Default)]
struct Judged {
    /// Attachments that stay.
    alive: Vec<Attachment>,
    /// Leases that the list can judge.
    looked_at: usize,
    /// Leases that it cannot.
    unknown: usize,
}

fn judge(leases: &[Lease], live: &Live) -> Judged {
    let mut judged = Judged::default();
    for lease in leases {
        let owner = owner(lease);
        let life = live.judge(&owner, made(lease));
        match life {
            Life::Unknown => judged.unknown += 1,
            Life::Alive | Life::Gone => judged.looked_at += 1,
        }
        if life != Life::Gone {
            judged.alive.push(Attachment {
                container_id: owner.container_id,
                ifname: owner.ifname,
            });
        }
    }
    judged
}

fn made(lease: &Lease) -> Option<Timestamp> {
    let time = lease.create_time.as_ref()?;
    Timestamp::new(time.seconds, time.nanos).ok()
}

fn owner(lease: &Lease) -> Owner {
    lease.owner.clone().unwrap_or_default()
}

fn note_unknown(judged: &Judged) {
    if judged.unknown > 0 {
        note(&format!(
            "{} leases are not judged by this list: they stay",
            judged.unknown
        ));
    }
}

/// Ends what is missed, more than one request can if need be.
async fn reclaim(
    mut request: ReclaimOrphansRequest,
    remote: &Remote,
) -> Result<ReclaimOrphansResponse, CliError> {
    request.validate_only = false;
    let mut done = ReclaimOrphansResponse::default();
    loop {
        let some = ask(&request, remote).await?;
        done.reclaimed.extend(some.reclaimed);
        if some.pending_count == 0 {
            done.suspected = some.suspected;
            done.suspected_count = some.suspected_count;
            return Ok(done);
        }
    }
}

async fn ask(
    request: &ReclaimOrphansRequest,
    remote: &Remote,
) -> Result<ReclaimOrphansResponse, CliError> {
    let mut client = remote.admin().await?;
    let request = remote.request(request.clone());
    remote.answer(client.reclaim_orphans(request)).await
}

fn show(done: &ReclaimOrphansResponse, out: &mut Out) -> Result<(), CliError> {
    if out.is_for_programs() {
        return out.value(done);
    }
    let missed = |leases: &[Lease], ended: bool| -> Vec<Missed> {
        let each = leases.iter().cloned();
        each.map(|lease| Missed { ended, lease }).collect()
    };
    let mut listing = Listing::new(out, "orphans", COLUMNS);
    listing.page(&missed(&done.reclaimed, true))?;
    listing.page(&missed(&done.suspected, false))?;
    listing.finish()?;
    let unlisted = done
        .suspected_count
        .saturating_sub(done.suspected.len() as u64)
        + done.pending_count;
    if unlisted > 0 {
        note(&format!("{unlisted} more leases are too many to be listed"));
    }
    Ok(())
}
