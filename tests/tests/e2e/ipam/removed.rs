//! Somebody removes files under a running server: it heals what it can, and shows the rest.

use std::fs;
use std::time::Duration;

use e2e::dial::unix_channel;
use e2e::ipam::request;
use e2e::{IpamServer, wait_until};
use proto::ipam::v1::GetPoolRequest;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use tonic::Code;

use crate::ipam::proxy::fixture::until;

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a pool is returned by whoever listens there.
async fn answers_at(socket: &std::path::Path) {
    until("the server is reachable", || async {
        let name = "blue".to_owned();
        let mut client = PoolServiceClient::new(unix_channel(socket));
        client.get_pool(GetPoolRequest { name }).await.ok()
    })
    .await;
}

fn wait_for_status(server: &IpamServer, status: u16) -> String {
    wait_until("/readyz", PATIENCE, || {
        let page = server.page("/readyz");
        (page.status == status).then_some(page.body)
    })
}

#[tokio::test]
async fn a_socket_that_somebody_removed_is_put_back_and_without_its_folder_bound_anew() {
    let folder = tempfile::tempdir().expect("make a folder");
    let run = folder.path().join("run");
    let socket = run.join("ipam.sock");
    let server = IpamServer::start_with(&[format!("--listen=unix://{}", socket.display())]);
    server.create_pool("blue", "10.0.0.0/24", "").await;
    answers_at(&socket).await;
    fs::remove_file(&socket).expect("remove the socket");
    answers_at(&socket).await;
    fs::remove_dir_all(&run).expect("remove the folder");
    answers_at(&socket).await;

    fs::remove_dir_all(&run).expect("remove the folder");
    fs::write(&run, "in the way").expect("write a file");
    let body = wait_for_status(&server, 503);
    assert!(body.contains(&socket.display().to_string()), "{body}");
    // The other socket is not touched by it.
    answers_at(&server.socket()).await;
    fs::remove_file(&run).expect("remove the file");
    answers_at(&socket).await;
    wait_for_status(&server, 200);
}

#[tokio::test]
async fn without_the_folder_of_its_store_a_server_acknowledges_nothing_and_is_not_ready() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "").await;
    let mut leases = server.lease_client();
    let aside = server.folder().join("aside");
    fs::rename(server.store(), &aside).expect("move the store");
    let body = wait_for_status(&server, 503);
    assert!(
        body.contains(&server.store().display().to_string()),
        "{body}"
    );
    let refused = leases.allocate(request("blue", "a")).await;
    let refused = refused.expect_err("it would be lost");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");

    fs::rename(&aside, server.store()).expect("put it back");
    wait_for_status(&server, 200);
    until("leases are made again", || {
        let mut leases = leases.clone();
        async move { leases.allocate(request("blue", "a")).await.ok() }
    })
    .await;
}
