//! Leases of a tenant: what is of another namespace is not there, and nobody takes an address over by a name alone.

use e2e::IpamServer;
use proto::ipam::v1::pool::RequestedAddresses;
use proto::ipam::v1::reservation_service_client::ReservationServiceClient;
use proto::ipam::v1::{self as ipam};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// What the owner of a request is.
#[derive(Clone, Copy, Debug, Default)]
struct Who<'a> {
    namespace: &'a str,
    pod: &'a str,
    claim: &'a str,
    container: &'a str,
    mac: &'a str,
    ips: &'a [&'a str],
}

async fn allocate(server: &IpamServer, pool: &str, who: Who<'_>) -> Result<ipam::Lease, Status> {
    let owner = ipam::Owner {
        namespace: who.namespace.to_owned(),
        pod: who.pod.to_owned(),
        claim: who.claim.to_owned(),
        container_id: who.container.to_owned(),
        ifname: "net1".to_owned(),
        network: "default/blue".to_owned(),
        ..ipam::Owner::default()
    };
    let request = ipam::AllocateRequest {
        pools: vec![pool.to_owned()],
        owner: Some(owner),
        mac: who.mac.to_owned(),
        ips: who.ips.iter().map(ToString::to_string).collect(),
        ..ipam::AllocateRequest::default()
    };
    let answer = server.lease_client().allocate(request).await?;
    Ok(answer.into_inner().lease.expect("a lease"))
}

async fn reserve(server: &IpamServer, name: &str, address: &str, identity: ipam::Identity) {
    let reservation = ipam::Reservation {
        name: name.to_owned(),
        pool: "blue".to_owned(),
        ipv4: address.to_owned(),
        identity: Some(identity),
        ..ipam::Reservation::default()
    };
    let request = ipam::CreateReservationRequest {
        reservation: Some(reservation),
        ..ipam::CreateReservationRequest::default()
    };
    let mut client = ReservationServiceClient::new(server.channel());
    let made = client.create_reservation(request);
    made.await.expect("create a reservation");
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("details").reason
}

async fn with_pool(change: impl FnOnce(&mut ipam::Pool)) -> IpamServer {
    let server = IpamServer::start();
    let mut pool = e2e::ipam::pool("blue", "10.0.0.0/24", "");
    change(&mut pool);
    let request = ipam::CreatePoolRequest {
        pool: Some(pool),
        ..ipam::CreatePoolRequest::default()
    };
    let made = server.pool_client().create_pool(request).await;
    made.expect("create a pool");
    server
}

#[tokio::test]
async fn a_pool_that_is_not_open_to_a_namespace_is_as_one_that_does_not_exist() {
    let server = with_pool(|pool| pool.allowed_namespaces = vec!["one".to_owned()]).await;
    let of = |namespace| Who {
        namespace,
        pod: "web",
        container: "c1",
        ..Who::default()
    };
    let closed = allocate(&server, "blue", of("two"))
        .await
        .expect_err("closed");
    let missing = allocate(&server, "none", of("two"))
        .await
        .expect_err("missing");
    assert_eq!(closed.code(), Code::NotFound);
    assert_eq!(
        closed.message().replace("blue", "X"),
        missing.message().replace("none", "X")
    );
    allocate(&server, "blue", of("one")).await.expect("open");
    let explained = server.ipamctl(&["explain", "--pool=blue", "--pod=two/web"]);
    let text = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(
        text.contains("POOL_NOT_FOUND") && !text.contains("are free"),
        "{text}"
    );
}

#[tokio::test]
async fn a_pool_says_whether_a_request_names_its_address() {
    let identity = || ipam::Identity {
        namespace: "one".to_owned(),
        pod: "kept".to_owned(),
        ..ipam::Identity::default()
    };
    for (says, other, own) in [
        (RequestedAddresses::Allow, true, true),
        (RequestedAddresses::Reserved, false, true),
        (RequestedAddresses::Deny, false, false),
    ] {
        let server = with_pool(|pool| pool.set_requested_addresses(says)).await;
        reserve(&server, "kept", "10.0.0.9", identity()).await;
        let ask = |pod, container, ips| {
            let who = Who {
                namespace: "one",
                pod,
                container,
                ips,
                ..Who::default()
            };
            allocate(&server, "blue", who)
        };
        let answer = ask("web", "c1", &["10.0.0.7"]).await;
        assert_eq!(answer.is_ok(), other, "{says:?}: {answer:?}");
        if let Err(status) = answer {
            assert_eq!(reason(&status), "ADDRESS_RESERVED");
        }
        let answer = ask("kept", "c2", &["10.0.0.9"]).await;
        assert_eq!(answer.is_ok(), own, "{says:?}: {answer:?}");
        // Without a wish, the reservation counts as always.
        let kept = ask("kept", "c2", &[]).await;
        if !own {
            assert_eq!(kept.expect("its own").ipv4, "10.0.0.9/24");
        }
    }
}

#[tokio::test]
async fn a_namespace_has_as_many_leases_of_a_pool_as_its_quota() {
    let mut server = with_pool(|pool| pool.namespace_quota = 2).await;
    let of = |namespace, container| Who {
        namespace,
        pod: container,
        container,
        ..Who::default()
    };
    let first = allocate(&server, "blue", of("one", "a"))
        .await
        .expect("the first");
    allocate(&server, "blue", of("one", "b"))
        .await
        .expect("the second");
    let refused = allocate(&server, "blue", of("one", "c"))
        .await
        .expect_err("the third");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "NAMESPACE_QUOTA");
    allocate(&server, "blue", of("two", "d"))
        .await
        .expect("of another namespace");
    // What was counted is counted after a crash, too, and a release makes room.
    server.kill9();
    server.restart();
    let refused = allocate(&server, "blue", of("one", "c")).await;
    assert_eq!(reason(&refused.expect_err("the third")), "NAMESPACE_QUOTA");
    let release = ipam::ReleaseRequest {
        id: first.id,
        ..ipam::ReleaseRequest::default()
    };
    server
        .lease_client()
        .release(release)
        .await
        .expect("release");
    allocate(&server, "blue", of("one", "c"))
        .await
        .expect("there is room");
}

#[tokio::test]
async fn a_claim_or_a_mac_of_one_namespace_is_nothing_in_another_one() {
    let server = with_pool(|_| ()).await;
    let one = || ipam::Identity {
        namespace: "one".to_owned(),
        ..ipam::Identity::default()
    };
    let claim = ipam::Identity {
        claim: "vm".to_owned(),
        ..one()
    };
    reserve(&server, "claim", "10.0.0.8", claim).await;
    let mac = ipam::Identity {
        mac: "02:00:00:00:00:09".to_owned(),
        ..one()
    };
    reserve(&server, "mac", "10.0.0.9", mac).await;
    let claims = |namespace, container| Who {
        namespace,
        pod: "vm-pod",
        claim: "vm",
        container,
        ..Who::default()
    };
    let macs = |namespace, container| Who {
        namespace,
        pod: "mac-pod",
        mac: "02:00:00:00:00:09",
        container,
        ..Who::default()
    };
    // The thief first, then the owner, then the thief while the owner has a lease.
    for (round, who) in [claims("two", "t1"), macs("two", "t2")]
        .into_iter()
        .enumerate()
    {
        let got = allocate(&server, "blue", who)
            .await
            .expect("another address");
        assert!(
            !["10.0.0.8/24", "10.0.0.9/24"].contains(&&*got.ipv4),
            "{round}: {got:?}"
        );
    }
    let held = allocate(&server, "blue", claims("one", "o1"))
        .await
        .expect("its own");
    assert_eq!(held.ipv4, "10.0.0.8/24");
    let by_mac = allocate(&server, "blue", macs("one", "o2"))
        .await
        .expect("its own");
    assert_eq!(by_mac.ipv4, "10.0.0.9/24");
    let thief = Who {
        ips: &["10.0.0.8"],
        ..claims("two", "t3")
    };
    let refused = allocate(&server, "blue", thief)
        .await
        .expect_err("of another namespace");
    assert_eq!(reason(&refused), "ADDRESS_RESERVED");
    // The next container of the claim takes over: the reservation names both.
    let next = allocate(&server, "blue", claims("one", "o3"))
        .await
        .expect("taken over");
    assert_eq!(next.ipv4, "10.0.0.8/24");
    server.assert_consistent().await;
}
