//! `ipamctl lease allocate` and `ipamctl lease renew`.

use pbjson_types::Duration;
use proto::ipam::v1::{AllocateResponse, RenewRequest};

use super::table::COLUMNS;
use crate::allocate::AllocateFlags;
use crate::error::CliError;
use crate::note::{note, note_dry_run};
use crate::out::Out;
use crate::remote::Remote;

/// Allocates a lease for an owner without a CNI plugin, such as a virtual machine.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  ipamctl lease allocate --pool blue --claim vm-7 --kind vm --ip 10.20.0.7"
)]
#[command(group = clap::ArgGroup::new("holder").args(["pod", "claim", "container_id", "kind"]).required(true).multiple(true))]
#[command(mut_arg("pool", |pool| pool.required(true)))]
pub(crate) struct AllocateArgs {
    #[command(flatten)]
    request: AllocateFlags,
    /// Only checks and shows what would be done; changes nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Extends a lease that has an expiry.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ipamctl lease renew l7 --ttl-seconds 3600")]
pub(crate) struct RenewArgs {
    /// The lease's id.
    id: String,
    /// How long the lease lasts from now on, in seconds. [default: the pool's default_ttl]
    #[arg(long, value_name = "SECONDS")]
    ttl_seconds: Option<u32>,
}

pub(super) async fn allocate(
    args: AllocateArgs,
    remote: &Remote,
    out: &mut Out,
) -> Result<(), CliError> {
    let mut request = args.request.into_request();
    request.validate_only = args.dry_run;
    let request = remote.request(request);
    let answer = remote
        .answer(remote.leases().await?.allocate(request))
        .await?;
    show(&answer, out)?;
    out.flush()?;
    note_dry_run(args.dry_run);
    Ok(())
}

fn show(answer: &AllocateResponse, out: &mut Out) -> Result<(), CliError> {
    match &answer.lease {
        Some(lease) if !out.is_for_programs() => out.one(COLUMNS, lease)?,
        _ => out.value(answer)?,
    }
    if answer.existing {
        note("the lease existed before");
    }
    Ok(())
}

pub(super) async fn renew(args: RenewArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let request = remote.request(RenewRequest {
        id: args.id,
        generation: 0,
        ttl: args.ttl_seconds.map(|seconds| Duration {
            seconds: seconds.into(),
            nanos: 0,
        }),
    });
    let lease = remote.answer(remote.leases().await?.renew(request)).await?;
    out.one(COLUMNS, &lease)
}
