//! `ipamctl reservation …`.

use clap::Subcommand;
use proto::ipam::v1::{
    CreateReservationRequest, DeleteReservationRequest, GetReservationRequest, Identity,
    ListReservationsRequest, Reservation,
};

use super::confirm::confirm;
use super::error::CliError;
use super::labels::{PodName, joined, label, pod};
use super::listing::Listing;
use super::note::{note, note_dry_run};
use super::out::{Column, Out};
use super::remote::Remote;
use super::time::age;

/// Reservations: addresses reserved for identities that outlive a container.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  ipamctl reservation list --pool blue")]
pub(crate) enum ReservationCommand {
    Create(Box<CreateArgs>),
    Get(GetArgs),
    List(ListArgs),
    Delete(DeleteArgs),
}

/// Reserves an address, or a pair, for owners with this identity.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  ipamctl reservation create db-0 --pool blue --ipv4 10.20.0.50 --ipv6 fd00:20::50 --pod prod/db-0"
)]
#[command(group = clap::ArgGroup::new("identity").args(["pod", "claim", "mac"]).required(true).multiple(true))]
#[command(group = clap::ArgGroup::new("address").args(["ipv4", "ipv6"]).required(true).multiple(true))]
pub(crate) struct CreateArgs {
    /// Name: 1 to 63 of a-z, 0-9, dash and dot.
    name: String,
    /// The pool of the addresses.
    #[arg(long, value_name = "NAME")]
    pool: String,
    /// IPv4 address, without prefix length.
    #[arg(long, value_name = "ADDRESS")]
    ipv4: Option<String>,
    /// IPv6 address, without prefix length.
    #[arg(long, value_name = "ADDRESS")]
    ipv6: Option<String>,
    /// For this pod, as a StatefulSet names it.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pod)]
    pod: Option<PodName>,
    /// For this IPAM claim or virtual machine.
    #[arg(long, value_name = "NAME")]
    claim: Option<String>,
    /// For this MAC address.
    #[arg(long, value_name = "MAC")]
    mac: Option<String>,
    /// Only in this CNI network configuration. [default: any]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Only for this interface. [default: any]
    #[arg(long, value_name = "NAME")]
    ifname: Option<String>,
    /// Only in this cluster. [default: any]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// A label: KEY=VALUE. Repeatable.
    #[arg(long, value_name = "LABEL", value_parser = label)]
    label: Vec<(String, String)>,
    /// Only checks and shows what would be done; changes nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Shows one reservation.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ipamctl reservation get db-0 -o yaml")]
pub(crate) struct GetArgs {
    /// The reservation's name.
    name: String,
}

/// Shows reservations, in order of name.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ipamctl reservation list --pool blue -o wide")]
pub(crate) struct ListArgs {
    /// Only reservations of this pool. [default: all]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    pool: String,
}

/// Ends reservations; a lease that holds the addresses stays. Asks first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ipamctl reservation delete db-0 --yes")]
pub(crate) struct DeleteArgs {
    /// The reservations' names.
    #[arg(required = true)]
    name: Vec<String>,
    /// Does not ask for confirmation.
    #[arg(short, long)]
    yes: bool,
}

const COLUMNS: &[Column<Reservation>] = &[
    Column {
        heading: "NAME",
        wide: false,
        cell: |at, _| at.name.clone(),
    },
    Column {
        heading: "POOL",
        wide: false,
        cell: |at, _| at.pool.clone(),
    },
    Column {
        heading: "IPV4",
        wide: false,
        cell: |at, _| at.ipv4.clone(),
    },
    Column {
        heading: "IPV6",
        wide: false,
        cell: |at, _| at.ipv6.clone(),
    },
    Column {
        heading: "FOR",
        wide: false,
        cell: |at, _| kept_for(at),
    },
    Column {
        heading: "AGE",
        wide: false,
        cell: |at, now| age(at.create_time.as_ref(), now),
    },
    Column {
        heading: "LABELS",
        wide: true,
        cell: |at, _| joined(&at.labels),
    },
];

pub(crate) async fn run(
    command: ReservationCommand,
    remote: &Remote,
    out: &mut Out,
) -> Result<(), CliError> {
    match command {
        ReservationCommand::Create(args) => create(*args, remote, out).await,
        ReservationCommand::Get(args) => get(args, remote, out).await,
        ReservationCommand::List(args) => list(args, remote, out).await,
        ReservationCommand::Delete(args) => delete(args, remote).await,
    }
}

async fn create(args: CreateArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let (namespace, pod) = args
        .pod
        .map(|pod| (pod.namespace, pod.name))
        .unwrap_or_default();
    let reservation = Reservation {
        name: args.name,
        pool: args.pool,
        ipv4: args.ipv4.unwrap_or_default(),
        ipv6: args.ipv6.unwrap_or_default(),
        identity: Some(Identity {
            cluster: args.cluster.unwrap_or_default(),
            namespace,
            pod,
            claim: args.claim.unwrap_or_default(),
            mac: args.mac.unwrap_or_default(),
            network: args.network.unwrap_or_default(),
            ifname: args.ifname.unwrap_or_default(),
        }),
        labels: args.label.into_iter().collect(),
        create_time: None,
    };
    let request = remote.request(CreateReservationRequest {
        reservation: Some(reservation),
        validate_only: args.dry_run,
        request_id: crate::remote::request_id(),
    });
    let mut client = remote.reservations().await?;
    let made = remote.answer(client.create_reservation(request)).await?;
    out.one(COLUMNS, &made)?;
    out.flush()?;
    note_dry_run(args.dry_run);
    Ok(())
}

async fn get(args: GetArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let request = remote.request(GetReservationRequest { name: args.name });
    let mut client = remote.reservations().await?;
    let found = remote.answer(client.get_reservation(request)).await?;
    out.one(COLUMNS, &found)
}

async fn list(args: ListArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let mut client = remote.reservations().await?;
    let mut listing = Listing::new(out, "reservations", COLUMNS);
    let mut page_token = String::new();
    loop {
        let request = remote.request(ListReservationsRequest {
            page_size: 1000,
            page_token,
            pool: args.pool.clone(),
        });
        let page = remote.answer(client.list_reservations(request)).await?;
        listing.page(&page.reservations)?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return listing.finish().map(drop);
        }
    }
}

async fn delete(args: DeleteArgs, remote: &Remote) -> Result<(), CliError> {
    let mut client = remote.reservations().await?;
    for name in args.name {
        confirm(args.yes, &format!("Delete reservation {name}?")).await?;
        let request = remote.request(DeleteReservationRequest { name: name.clone() });
        remote.answer(client.delete_reservation(request)).await?;
        note(&format!("reservation {name} is deleted"));
    }
    Ok(())
}

fn kept_for(reservation: &Reservation) -> String {
    let Some(identity) = &reservation.identity else {
        return String::new();
    };
    let mut parts = Vec::new();
    if !identity.pod.is_empty() {
        parts.push(format!("{}/{}", identity.namespace, identity.pod));
    }
    for (kind, value) in [
        ("claim", &identity.claim),
        ("mac", &identity.mac),
        ("network", &identity.network),
        ("ifname", &identity.ifname),
        ("cluster", &identity.cluster),
    ] {
        if !value.is_empty() {
            parts.push(format!("{kind}:{value}"));
        }
    }
    parts.join(",")
}
