//! `ipamctl pool create`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use proto::ipam::v1::{CreatePoolRequest, Pairing, Pool, Subnet};

use super::file::{self, PoolFile};
use super::flags::ConfigFlags;
use super::table::COLUMNS;
use crate::error::CliError;
use crate::listing::Listing;
use crate::note::note_dry_run;
use crate::out::Out;
use crate::remote::Remote;

const EXAMPLES: &str = "\
Examples:
  ipamctl pool create blue --ipv4 10.20.0.0/24 --ipv4-gateway 10.20.0.1 --ipv6 fd00:20::/64
  ipamctl pool create -f pools.yaml

pools.yaml, as for ipam-server --pools:
  pools:
  - name: blue
    ipv4: {cidr: 10.20.0.0/24, ranges: [10.20.0.10-10.20.0.99], gateway: 10.20.0.1}
    ipv6: {cidr: 'fd00:20::/64'}
    quarantine: 60s";

/// Makes a pool of one or two families, or all pools of a file. A pool that exists with the same configuration stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CreateArgs {
    /// Name: 1 to 63 of a-z, 0-9, dash and dot.
    #[arg(required_unless_present = "file")]
    name: Option<String>,
    /// File with pools in YAML or JSON; - reads stdin.
    #[arg(short, long, value_name = "FILE", conflicts_with = "name")]
    file: Option<PathBuf>,
    /// The IPv4 network. At least one of --ipv4-cidr and --ipv6-cidr is required.
    #[arg(long, visible_alias = "ipv4", value_name = "CIDR")]
    ipv4_cidr: Option<String>,
    /// The IPv6 network.
    #[arg(long, visible_alias = "ipv6", value_name = "CIDR")]
    ipv6_cidr: Option<String>,
    /// Where an address is unique: pools of one VRF must not overlap.
    #[arg(long, default_value = "default", value_name = "NAME")]
    vrf: String,
    /// How the two addresses of a pair are chosen. [default: independent]
    #[arg(long, value_enum, ignore_case = true)]
    pairing: Option<Pairs>,
    #[command(flatten)]
    config: ConfigFlags,
    /// Only checks and shows what would be done; changes nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Pairs {
    /// Each family by itself.
    Independent,
    /// Both at the same offset from the start of their CIDR.
    Aligned,
}

pub(super) async fn run(args: CreateArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let validate_only = args.dry_run;
    match &args.file {
        Some(path) => {
            let file = of_file(path, &args).await?;
            create_all(&file, validate_only, remote, out).await?;
        }
        None => {
            let pool = of_flags(args)?;
            out.one(COLUMNS, &create(&pool, validate_only, remote).await?)?;
        }
    }
    out.flush()?;
    note_dry_run(validate_only);
    Ok(())
}

async fn create(pool: &Pool, validate_only: bool, remote: &Remote) -> Result<Pool, CliError> {
    let mut client = remote.pools().await?;
    let request = remote.request(CreatePoolRequest {
        pool: Some(pool.clone()),
        validate_only,
        request_id: crate::remote::request_id(),
    });
    remote.answer(client.create_pool(request)).await
}

/// Creates one after the other, up to the first that is refused; those that were created are listed in any case.
async fn create_all(
    file: &PoolFile,
    validate_only: bool,
    remote: &Remote,
    out: &mut Out,
) -> Result<(), CliError> {
    let mut created = Vec::new();
    let mut failed = None;
    for (index, pool) in file.pools().enumerate() {
        match create(pool, validate_only, remote).await {
            Ok(pool) => created.push(pool),
            Err(CliError::Refused(refusal)) => {
                failed = Some(file.refused(index, refusal));
                break;
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if failed.is_none() || !created.is_empty() {
        let mut listing = Listing::new(out, "pools", COLUMNS);
        listing.page(&created)?;
        listing.finish()?;
    }
    failed.map_or(Ok(()), Err)
}

async fn of_file(path: &Path, args: &CreateArgs) -> Result<PoolFile, CliError> {
    let flags = args.config != ConfigFlags::default()
        || args.ipv4_cidr.is_some()
        || args.ipv6_cidr.is_some()
        || args.pairing.is_some();
    match flags {
        true => Err(CliError::argument(
            "--file",
            "the pools are in the file; leave the other flags out",
        )),
        false => file::read(path).await,
    }
}

fn of_flags(args: CreateArgs) -> Result<Pool, CliError> {
    let subnet = |cidr: String| Subnet {
        cidr,
        ..Subnet::default()
    };
    let mut pool = Pool {
        name: args.name.unwrap_or_default(),
        vrf: args.vrf,
        ipv4: args.ipv4_cidr.map(subnet),
        ipv6: args.ipv6_cidr.map(subnet),
        ..Pool::default()
    };
    if let Some(pairs) = args.pairing {
        pool.pairing = match pairs {
            Pairs::Independent => Pairing::Independent,
            Pairs::Aligned => Pairing::Aligned,
        }
        .into();
    }
    args.config.apply(&mut pool)?;
    Ok(pool)
}
