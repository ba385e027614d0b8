//! The file of `--pools` at each start: what fits of it is in force, and the server serves whatever does not.

use std::fs;

use e2e::IpamServer;
use e2e::ipam::request;
use proto::ipam::v1::ReleaseAttachmentRequest;

#[tokio::test]
async fn a_pool_that_cannot_be_made_or_changed_keeps_neither_the_server_nor_another_pool_from_serving()
 {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let file = folder.path().join("pools.yaml");
    let write = |text: &str| fs::write(&file, text).expect("write the pools");
    write(
        "pools: [{name: full, ipv4: {cidr: 10.98.0.0/24}}, {name: other, ipv4: {cidr: 10.99.0.0/24}}]",
    );
    let path = file.to_str().expect("a path");
    let mut server = IpamServer::start_with(&["--pools", path]);
    let mut leases = server.lease_client();
    leases
        .allocate(request("full", "web"))
        .await
        .expect("allocate");
    server.kill9();
    write(
        "pools:
- {name: full, ipv4: {cidr: 10.98.0.0/24, ranges: [10.98.0.100-10.98.0.199]}}
- {name: bad, ipv4: {cidr: 10.97.0.0/33}}
- {name: odd, ipv4: {cidr: 10.96.0.0/24}, colour: blue}
- {nam: x}
- {name: other, ipv4: {cidr: 10.99.0.0/24, ranges: [10.99.0.7-10.99.0.9]}}
- {name: new, ipv4: {cidr: 10.95.0.0/24}}
",
    );
    server.restart();

    let mut leases = server.lease_client();
    for (pool, expected) in [
        ("full", "10.98.0.2/24"),
        ("other", "10.99.0.7/24"),
        ("new", "10.95.0.1/24"),
    ] {
        let given = leases.allocate(request(pool, "next")).await;
        let given = given.expect(pool).into_inner().lease.expect("a lease");
        assert_eq!(given.ipv4, expected, "{pool}");
    }
    let release = ReleaseAttachmentRequest {
        network: "full".to_owned(),
        container_id: "web".to_owned(),
        ifname: "net1".to_owned(),
    };
    let released = leases.release_attachment(release).await.expect("release");
    assert!(released.into_inner().lease.is_some());

    let page = server.page("/readyz");
    let details: Vec<_> = page.body.lines().collect();
    let expected = [
        ("ok", ""),
        ("pool full of --pools stays as it was: ", "10.98.0.1"),
        ("pool bad of --pools does not exist: ", "10.97.0.0/33"),
        ("pool odd of --pools does not exist: ", "colour"),
        ("pool pools[3] of --pools does not exist: ", "nam"),
    ];
    assert_eq!(
        (page.status, details.len()),
        (200, expected.len()),
        "{page:?}"
    );
    let log = server.log();
    for (line, (start, cause)) in details.iter().zip(expected).skip(1) {
        assert!(line.starts_with(start) && line.contains(cause), "{line}");
        assert!(log.contains(line) && line.len() < 300, "{line}: {log}");
    }
    for pool in ["full", "bad", "odd", "pools[3]"] {
        let series = format!("ipam_pool_refused{{pool=\"{pool}\"}}");
        assert_eq!(server.metric(&series), 1.0, "{pool}");
    }

    write("pools: [{name: full, ipv4: {cidr: 10.98.0.0/24}}]");
    server.kill9();
    server.restart();
    assert_eq!(server.page("/readyz").body, "ok\n");
}
