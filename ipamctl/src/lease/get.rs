//! One lease as the server has it.

use proto::ipam::v1::{GetLeaseRequest, Lease};

use crate::error::CliError;
use crate::remote::Remote;

/// The lease with an id.
pub(super) async fn get(remote: &Remote, id: String) -> Result<Lease, CliError> {
    let request = remote.request(GetLeaseRequest { id });
    remote
        .answer(remote.leases().await?.get_lease(request))
        .await
}
