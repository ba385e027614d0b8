//! `ipamctl history`: what changed, when, and who did it.

use std::net::IpAddr;

use jiff::Timestamp;
use proto::ipam::v1::subject::Subject;
use proto::ipam::v1::{Event, EventType, ListEventsRequest, Owner};

use super::error::CliError;
use super::labels::{PodName, pod};
use super::lease::table::holder;
use super::listing::Listing;
use super::out::{Column, Out};
use super::remote::Remote;
use super::time;

/// The most events that a server returns in one page.
const PAGE: usize = 1000;

/// Shows what changed, the newest change last; for everything, for an address, or for a pod.
///
/// Times are RFC 3339, local time ('2026-01-31 14:03', 14:03), or relative ('10m ago', -10m).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ipamctl history 10.20.0.7 --since -2h\n  ipamctl history --pod default/web-0 --limit 20"
)]
pub(crate) struct HistoryArgs {
    /// Only changes about this address.
    address: Option<IpAddr>,
    /// Only changes about leases of this pod.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pod)]
    pod: Option<PodName>,
    /// Only changes of this time and later. [default: as far back as the history reaches]
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    /// Only changes before this time. [default: now]
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_hyphen_values = true)]
    until: Option<Timestamp>,
    /// Only this many newest changes, the newest first. [default: all]
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

/// The columns of a change.
pub(crate) const COLUMNS: &[Column<Event>] = &[
    Column {
        heading: "REVISION",
        wide: false,
        cell: |at, _| revision(at),
    },
    Column {
        heading: "TIME",
        wide: false,
        cell: |at, _| time::shown(at.time.as_ref()),
    },
    Column {
        heading: "TYPE",
        wide: false,
        cell: |at, _| kind(at).to_owned(),
    },
    Column {
        heading: "SUBJECT",
        wide: false,
        cell: |at, _| subject(at),
    },
    Column {
        heading: "IPV4",
        wide: false,
        cell: |at, _| addresses(at).0,
    },
    Column {
        heading: "IPV6",
        wide: false,
        cell: |at, _| addresses(at).1,
    },
    Column {
        heading: "HOLDER",
        wide: false,
        cell: |at, _| held_by(at),
    },
    Column {
        heading: "BY",
        wide: true,
        cell: |at, _| at.actor.clone(),
    },
];

pub(crate) async fn run(args: HistoryArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let limit = args.limit.unwrap_or(usize::MAX);
    let asked = ListEventsRequest {
        page_size: i32::try_from(limit.clamp(1, PAGE)).unwrap_or(i32::MAX),
        page_token: String::new(),
        start_time: args.since.map(time::to_proto),
        end_time: args.until.map(time::to_proto),
        address: args
            .address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        owner: args.pod.map(|pod| Owner {
            namespace: pod.namespace,
            pod: pod.name,
            ..Owner::default()
        }),
        descending: args.limit.is_some(),
    };
    let mut client = remote.admin().await?;
    let mut listing = Listing::new(out, "events", COLUMNS);
    let mut page_token = String::new();
    loop {
        let request = remote.request(ListEventsRequest {
            page_token,
            ..asked.clone()
        });
        let page = remote.answer(client.list_events(request)).await?;
        let wanted = limit - listing.count();
        listing.page(page.events.get(..wanted).unwrap_or(&page.events))?;
        page_token = page.next_page_token;
        if page_token.is_empty() || listing.count() >= limit {
            return listing.finish().map(drop);
        }
    }
}

fn revision(event: &Event) -> String {
    match event.revision {
        0 => String::new(),
        revision => revision.to_string(),
    }
}

fn kind(event: &Event) -> &'static str {
    match event.r#type() {
        EventType::Unspecified => "",
        kind => kind.as_str_name(),
    }
}

fn about(event: &Event) -> Option<&Subject> {
    let newest = event.after.as_ref().or(event.before.as_ref());
    newest.and_then(|at| at.subject.as_ref())
}

fn subject(event: &Event) -> String {
    match about(event) {
        Some(Subject::Lease(lease)) => format!("lease/{}", lease.id),
        Some(Subject::Pool(pool)) => format!("pool/{}", pool.name),
        Some(Subject::Reservation(kept)) => format!("reservation/{}", kept.name),
        None => String::new(),
    }
}

fn addresses(event: &Event) -> (String, String) {
    match about(event) {
        Some(Subject::Lease(lease)) => (lease.ipv4.clone(), lease.ipv6.clone()),
        Some(Subject::Reservation(kept)) => (kept.ipv4.clone(), kept.ipv6.clone()),
        _ => (String::new(), String::new()),
    }
}

fn held_by(event: &Event) -> String {
    match about(event) {
        Some(Subject::Lease(lease)) => holder(lease.owner.as_ref()),
        _ => String::new(),
    }
}
