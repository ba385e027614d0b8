//! `ipamctl server`: version, store and revision of the server.

use proto::ipam::v1::{GetServerRequest, Server};

use super::error::CliError;
use super::out::{Column, Out};
use super::remote::Remote;

/// Shows the server's version, store, revision, and whether it can write.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ipamctl server -o json")]
pub(crate) struct ServerArgs {}

const COLUMNS: &[Column<Server>] = &[
    Column {
        heading: "VERSION",
        wide: false,
        cell: |at, _| at.version.clone(),
    },
    Column {
        heading: "STORE",
        wide: false,
        cell: |at, _| at.store.clone(),
    },
    Column {
        heading: "WRITABLE",
        wide: false,
        cell: |at, _| at.writable.to_string(),
    },
    Column {
        heading: "LEASES",
        wide: false,
        cell: |at, _| at.leases.to_string(),
    },
    Column {
        heading: "REVISION",
        wide: false,
        cell: |at, _| at.revision.to_string(),
    },
    Column {
        heading: "OLDEST-REVISION",
        wide: false,
        cell: |at, _| at.oldest_revision.to_string(),
    },
    Column {
        heading: "STORE-ID",
        wide: true,
        cell: |at, _| at.store_id.clone(),
    },
    Column {
        heading: "AWAITED-NODES",
        wide: true,
        cell: |at, _| at.awaited_nodes.join(","),
    },
    Column {
        heading: "PROBLEM",
        wide: true,
        cell: |at, _| at.problem.clone(),
    },
];

pub(crate) async fn run(remote: &Remote, out: &mut Out) -> Result<(), CliError> {
    let request = remote.request(GetServerRequest {});
    let server = remote
        .answer(remote.admin().await?.get_server(request))
        .await?;
    out.one(COLUMNS, &server)?;
    match server.problem.as_str() {
        "" => Ok(()),
        problem => Err(CliError::Incomplete {
            what: format!("the server cannot write: {problem}"),
        }),
    }
}
