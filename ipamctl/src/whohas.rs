//! `ipamctl whohas`: who holds an address, now or at a time.

use std::net::IpAddr;

use jiff::Timestamp;
use proto::ipam::v1::LookupRequest;

use super::error::CliError;
use super::lease::COLUMNS;
use super::listing::Listing;
use super::out::Out;
use super::remote::Remote;
use super::time;

/// Shows who holds an address, now or at a time that the history reaches.
///
/// Exit code 3 if nobody holds the address.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ipamctl whohas 10.20.0.7\n  ipamctl whohas fd00:20::7 --at '2026-01-31 14:03'\n  ipamctl whohas 10.20.0.7 --at -10m"
)]
pub(crate) struct WhohasArgs {
    /// IPv4 or IPv6 address, without prefix length.
    address: IpAddr,
    /// Time to answer for: RFC 3339, local time ('2026-01-31 14:03', 14:03), or relative ('10m ago', -10m). [default: now]
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_hyphen_values = true)]
    at: Option<Timestamp>,
    /// VRF of the address. [default: all]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    vrf: String,
}

pub(crate) async fn run(args: WhohasArgs, remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let request = remote.request(LookupRequest {
        address: args.address.to_string(),
        vrf: args.vrf,
        at_time: args.at.map(time::to_proto),
        ..LookupRequest::default()
    });
    let found = remote
        .answer(remote.leases().await?.lookup(request))
        .await?;
    if found.leases.is_empty() && !out.is_for_programs() {
        return Err(nobody(args.address, args.at));
    }
    let mut listing = Listing::new(out, "leases", COLUMNS);
    listing.page(&found.leases)?;
    match listing.finish()? {
        0 => Err(nobody(args.address, args.at)),
        _ => Ok(()),
    }
}

fn nobody(address: IpAddr, at: Option<Timestamp>) -> CliError {
    let what = match at {
        Some(at) => format!(
            "nobody held {address} at {at}; `ipamctl history {address}` shows when somebody did"
        ),
        None => format!("nobody holds {address}; `ipamctl history {address}` shows who did"),
    };
    CliError::NotFound { what }
}
