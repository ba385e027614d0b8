//! What is said of changes: a line of the log for each, and the field of a pool that makes no sense.

use std::time::Duration;

use e2e::ipam::request;
use e2e::{IpamServer, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn each_change_is_a_line_that_says_who_did_what_to_which_lease() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "").await;
    let mut leases = server.lease_client();
    let given = leases.allocate(request("blue", "web-0")).await;
    let lease = given
        .expect("allocate")
        .into_inner()
        .lease
        .expect("a lease");
    let released = server.ipamctl(&["lease", "release", &lease.id, "--yes"]);
    assert!(released.status.success(), "{released:?}");
    for words in [
        [
            "change=\"CREATED\"",
            "actor=\"operator/uid:0\"",
            "subject=\"pool blue\"",
            "INFO",
        ],
        [
            "change=\"CREATED\"",
            "default/web-0",
            "10.0.0.1/24",
            "operator/uid:0",
        ],
        [
            "change=\"RELEASED\"",
            "default/web-0",
            "10.0.0.1/24",
            "operator/uid:0",
        ],
    ] {
        wait_until(&format!("{words:?}"), PATIENCE, || {
            let log = server.log();
            let found = log
                .lines()
                .any(|line| words.iter().all(|word| line.contains(word)));
            found.then_some(())
        });
    }
    assert!(server.log().contains(&format!("lease {}", lease.id)));
}

#[tokio::test]
async fn a_pool_that_no_pod_can_use_is_refused_by_its_field() {
    let server = IpamServer::start();
    for (arguments, field) in [
        (&["--ipv4-cidr=224.0.0.0/24"][..], "ipv4.cidr"),
        (&["--ipv6-cidr=ff02::/64"], "ipv6.cidr"),
        (&["--ipv4-cidr=127.0.0.0/16"], "ipv4.cidr"),
        (
            &["--ipv4-cidr=10.0.0.0/24", "--ipv4-gateway=10.0.0.255"],
            "ipv4.gateway",
        ),
    ] {
        let refused = server.ipamctl(&[&["pool", "create", "odd"], arguments].concat());
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{arguments:?}");
        assert!(
            text.contains(field) || text.contains(&field.replace('.', "-")),
            "{text}"
        );
    }
}
