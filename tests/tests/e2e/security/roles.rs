//! Roles × operations: every cell of the table in docs/src/security.md with a real certificate, and what root is on the socket.

mod calls;
pub(crate) mod scene;

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use calls::{CALLS, Outcome};
use scene::{Caller, Scene};

use Outcome::{Done, Nothing, Refused};

/// What each caller gets: a stranger, a reader, the lease's node, another node, a reclaimer, an operator.
const CALLERS: [Caller; 6] = [
    Caller::Stranger,
    Caller::Reader,
    Caller::Node,
    Caller::OtherNode,
    Caller::Reclaimer,
    Caller::Operator,
];

/// The rows of the table, in the order of [`CALLERS`].
fn expected(row: &str) -> [Outcome; 6] {
    match row {
        "health" => [Done; 6],
        "pools" => [Refused, Done, Done, Done, Done, Done],
        "leases" => [Refused, Done, Done, Nothing, Done, Done],
        "allocate" => [Refused, Refused, Done, Refused, Refused, Done],
        "release" => [Refused, Refused, Done, Nothing, Refused, Done],
        "release unlisted" => [Refused, Refused, Done, Refused, Refused, Done],
        "reclaim" => [Refused, Refused, Refused, Refused, Done, Done],
        "reservations" => [Refused, Done, Done, Nothing, Refused, Done],
        "operate" => [Refused, Refused, Refused, Refused, Refused, Done],
        "admin" => [Refused, Done, Refused, Refused, Refused, Done],
        other => panic!("the table has no row {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_what_the_table_allows_and_nothing_else() {
    let scene = Scene::new().await;
    let mut wrong = Vec::new();
    for call in CALLS {
        for (caller, expected) in CALLERS.into_iter().zip(expected(call.row)) {
            let target = scene.target().await;
            let outcome = (call.make)(scene.channel(caller).await, target).await;
            if outcome != expected {
                wrong.push(format!(
                    "{} by {caller:?}: {outcome:?}, not {expected:?}",
                    call.method
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", scene.server.log());
    assert!(
        scene
            .server
            .metric("ipam_refused_callers_total{why=\"not_allowed\"}")
            > 10.0
    );
    scene.server.assert_consistent().await;
}

#[test]
fn each_method_of_the_contract_has_a_cell() {
    let mut called: Vec<_> = CALLS.iter().map(|call| call.method.to_owned()).collect();
    let mut served = calls::methods_of_the_contract();
    called.sort();
    served.sort();
    assert_eq!(called, served);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_names_the_node_of_a_lease_and_the_role_of_a_change() {
    let scene = Scene::new().await;
    let target = scene.target().await;
    let lease = calls::allocate_as(scene.channel(Caller::Node).await, &target, "elsewhere").await;
    let owner = lease.expect("allocate").owner.expect("an owner");
    assert_eq!(owner.node, "n1");
    let by_uri = scene.target().await;
    let lease = calls::allocate_as(scene.channel(Caller::Workload).await, &by_uri, "").await;
    assert_eq!(lease.expect("allocate").owner.expect("an owner").node, "n3");
    let history = scene.server.ipamctl(&["history", "-o", "json"]);
    let text = String::from_utf8_lossy(&history.stdout).into_owned();
    assert!(
        text.contains("node/n1") && text.contains("node/n3"),
        "{text}"
    );
    assert!(text.contains("operator/uid:0"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_who_what_and_the_remedy_and_nothing_of_others() {
    let scene = Scene::new().await;
    let target = scene.target().await;
    let status = calls::create_pool_as(scene.channel(Caller::Node).await).await;
    let status = status.expect_err("a node makes no pools");
    assert_eq!(status.code(), Code::PermissionDenied);
    let text = status.message();
    assert!(
        text.contains("system:node:n1") && text.contains("role node") && text.contains("--policy"),
        "{text}"
    );
    assert!(text.len() < 300, "{text}");
    // What is another node's and what does not exist are one text.
    let of_other = calls::release_as(scene.channel(Caller::OtherNode).await, &target.id).await;
    let of_nobody = calls::release_as(scene.channel(Caller::OtherNode).await, "l999999").await;
    let (one, two) = (
        of_other.expect_err("refused"),
        of_nobody.expect_err("refused"),
    );
    assert_eq!(one.code(), two.code());
    assert_eq!(
        one.message().replace(&target.id, "ID"),
        two.message().replace("l999999", "ID")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn root_on_the_socket_is_the_node_of_the_machine_unless_the_server_says_more() {
    let server = e2e::IpamServer::start_of_node(&["--node-name=here"]);
    let refused = server.ipamctl(&["pool", "create", "blue", "--ipv4-cidr=10.0.0.0/24"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{refused:?}");
    assert!(text.contains("--unix-operator"), "{text}");
    let listed = server.ipamctl(&["pool", "list"]);
    assert!(listed.status.success(), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_read_anew_and_a_broken_one_changes_nothing() {
    let scene = Scene::new().await;
    let creates = || async {
        let channel = scene.channel(Caller::Reader).await;
        calls::create_pool_as(channel).await.map(drop)
    };
    assert!(creates().await.is_err());
    std::fs::write(scene.policy(), "rules: [{name: [").expect("write");
    scene
        .wait_for_metric("ipam_renewals_total{files=\"policy\",result=\"failed\"}")
        .await;
    // The policy of before is in force.
    assert_eq!(
        creates().await.expect_err("a reader").code(),
        Code::PermissionDenied
    );
    std::fs::write(scene.policy(), "rules: [{name: reader, roles: [operator]}]").expect("write");
    scene
        .wait_for_metric("ipam_renewals_total{files=\"policy\",result=\"used\"}")
        .await;
    creates().await.expect("the reader is an operator now");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_a_backup_for_an_operator_whatever_the_order_of_roles() {
    let scene = Scene::new().await;
    let target = scene.target().await;
    let exported = async |caller| {
        let found = calls::exported(scene.channel(caller).await, &target).await;
        found.expect("export").expect("the lease")
    };
    assert_eq!(exported(Caller::Reader).await.id, "");
    assert_eq!(exported(Caller::Operator).await.id, target.id);
    std::fs::write(
        scene.policy(),
        "rules: [{name: reader, roles: [reader, operator]}]",
    )
    .expect("write");
    scene
        .wait_for_metric("ipam_renewals_total{files=\"policy\",result=\"used\"}")
        .await;
    assert_eq!(exported(Caller::Reader).await.id, target.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_shown_its_own_leases_and_of_pools_what_its_pods_need() {
    let scene = Scene::new().await;
    let (own, other) = (scene.target().await, scene.target().await);
    let given = calls::allocate_as(scene.channel(Caller::OtherNode).await, &other, "").await;
    let given = given.expect("allocate").id;
    let listed = async |caller| {
        let leases = calls::list_as(scene.channel(caller).await).await;
        let leases = leases.expect("list");
        leases.into_iter().map(|lease| lease.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(Caller::Node).await, [own.id, other.id]);
    assert_eq!(listed(Caller::OtherNode).await, [given]);
    assert_eq!(listed(Caller::Reader).await.len(), 3);
    let open = scene
        .server
        .ipamctl(&["pool", "edit", "blue", "--allowed-namespace=default"]);
    assert!(open.status.success(), "{open:?}");
    let namespaces = async |caller| {
        let pools = calls::pools_as(scene.channel(caller).await).await;
        let pools = pools.expect("list");
        let blue = pools.into_iter().find(|pool| pool.name == "blue");
        blue.expect("pool blue").allowed_namespaces
    };
    assert_eq!(namespaces(Caller::Node).await, [""; 0]);
    assert_eq!(namespaces(Caller::Reader).await, ["default"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_callers_without_a_role_make_room_for_those_with_one() {
    let scene = Scene::with(&["--max-connections=4", "--max-connections-per-peer=4"]).await;
    let mut strangers = Vec::new();
    for _ in 0..8 {
        let mut client = HealthClient::new(scene.channel(Caller::Stranger).await);
        let checked = client.check(HealthCheckRequest::default()).await;
        checked.expect("health is open");
        strangers.push(client);
    }
    for _ in 0..3 {
        let channel = scene.channel(Caller::Reader).await;
        calls::list_as(channel).await.expect("a reader is served");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reclaimer_whose_list_misses_many_leases_ends_none() {
    let scene = Scene::new().await;
    for _ in 0..20 {
        scene.target().await;
    }
    let refused = calls::reclaim_as(scene.channel(Caller::Reclaimer).await).await;
    let status = refused.expect_err("20 of 20 leases are missed");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(
        status.message().contains("20 of 20"),
        "{}",
        status.message()
    );
    let suspected = calls::reclaim_as(scene.channel(Caller::Operator).await).await;
    assert_eq!(suspected.expect("an operator"), 20);
    assert_eq!(scene.server.leases().await.len(), 20);
}
