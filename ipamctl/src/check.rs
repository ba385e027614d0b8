//! `ipamctl check`: do indexes, counts and leases agree?

use proto::ipam::v1::CheckConsistencyRequest;

use super::error::CliError;
use super::out::Out;
use super::remote::Remote;

/// Compares the server's indexes and counts with a scan of all leases. Changes nothing.
///
/// Exit code 1 if something does not agree.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ipamctl check --timeout-seconds 60")]
pub(crate) struct CheckArgs {}

pub(crate) async fn run(remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let request = remote.request(CheckConsistencyRequest {});
    let found = remote
        .answer(remote.admin().await?.check_consistency(request))
        .await?;
    if out.is_for_programs() {
        out.value(&found)?;
    } else {
        for problem in &found.problems {
            out.text(&format!("{problem}\n"))?;
        }
    }
    match found.problems.len() {
        0 if out.is_for_programs() => Ok(()),
        0 => out.text(&format!(
            "{} leases of {} pools: all is well\n",
            found.leases, found.pools
        )),
        count => Err(CliError::Incomplete {
            what: format!(
                "{count} of what {} leases and {} pools say does not agree; export, and restart the server",
                found.leases, found.pools
            ),
        }),
    }
}
