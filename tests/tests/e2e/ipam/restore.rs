//! A store that is older than the pods: whatever way it was put back, no address of a living pod is given to another one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::ipam::request;
use e2e::{IpamServer, Node, Pod, locate, wait_until};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt;

use crate::ipam::proxy::fixture::{Proxy, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A node whose network `default/blue` leases from pool `blue` at a socket.
fn node(name: &str, socket: &Path) -> Node {
    let node = Node::new(name);
    node.install(&locate::executable("meta-ipam"));
    blue(&node, socket, &node.state_dir());
    node
}

fn blue(node: &Node, socket: &Path, state_dir: &Path) {
    blue_of(node, socket, state_dir, Some(node.name()));
}

/// The node's settings name the node, or leave it to the host's name.
fn blue_of(node: &Node, socket: &Path, state_dir: &Path, name: Option<&str>) {
    let settings = json!({ "stateDir": state_dir, "timeoutSeconds": 2, "node": name });
    node.leases_from(&format!("unix://{}", socket.display()), settings);
    let ipam = json!({ "type": "meta-ipam", "pool": "blue" });
    let conf = json!({"cniVersion": "1.0.0", "name": "blue", "type": "bridge", "bridge": "br-blue", "ipam": ipam});
    node.nad("default", "blue", conf);
}

fn pod(node: &Node, name: &str) -> Pod {
    node.pod("default", name).networks("blue").create()
}

/// The pod's address of pool `blue`.
fn address(pod: &Pod) -> String {
    pod.address("net1", false)
}

async fn with_pool() -> IpamServer {
    let server = IpamServer::start();
    server.create_pool("blue", "10.91.0.0/24", "").await;
    server
}

fn export(server: &IpamServer) -> Vec<u8> {
    let export = server.ipamctl(&["export"]);
    assert!(export.status.success(), "{export:?}");
    export.stdout
}

fn import(server: &IpamServer, backup: &[u8]) {
    let file = server.folder().join("backup.jsonl");
    fs::write(&file, backup).expect("write the backup");
    let done = server.ipamctl(&["import", &file.display().to_string()]);
    assert!(done.status.success(), "{done:?}");
}

/// Ends a server, and starts it again with a new store that holds a backup.
fn restore(server: &mut IpamServer, backup: &[u8]) {
    server.kill9();
    fs::remove_dir_all(server.store()).expect("lose the store");
    server.restart();
    import(server, backup);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("run cp").success());
}

fn reports(server: &IpamServer) -> f64 {
    server.metric(
        r#"ipam_rpc_duration_seconds_count{method="ipam.v1.LeaseService/ReportHeld",code="Ok"}"#,
    )
}

/// The pod that an address is leased to.
async fn holder(server: &IpamServer, address: &str) -> String {
    let leases = server.leases().await;
    let plain = |ip: &str| ip.split('/').next() == Some(address);
    let lease = leases.into_iter().find(|lease| plain(&lease.ipv4));
    let owner = lease.and_then(|lease| lease.owner);
    owner.unwrap_or_default().pod
}

#[track_caller]
fn all_differ(pods: &[&Pod]) {
    let addresses: Vec<_> = pods.iter().map(|pod| address(pod)).collect();
    let distinct: BTreeSet<_> = addresses.iter().collect();
    assert_eq!(distinct.len(), addresses.len(), "{addresses:?}");
}

#[tokio::test]
async fn a_pod_made_after_the_backup_keeps_its_address_when_the_backup_is_restored() {
    let mut server = with_pool().await;
    let node = node("restore", &server.socket());
    let before = pod(&node, "before");
    node.add(&before).ok();
    let backup = export(&server);
    let after = pod(&node, "after");
    node.add(&after).ok();
    restore(&mut server, &backup);
    let new = pod(&node, "new");
    node.add(&new).ok();
    let pods = [&before, &after, &new];
    all_differ(&pods);
    assert_eq!(server.leases().await.len(), 3);
    for pod in pods {
        assert_eq!(holder(&server, &address(pod)).await, pod.name);
        node.del(pod).ok();
    }
    assert_eq!(server.leases().await, []);
    node.assert_clean();
}

#[tokio::test]
async fn a_pod_made_after_a_copy_of_the_store_keeps_its_address_when_the_copy_is_put_back() {
    let mut server = with_pool().await;
    let node = node("copied", &server.socket());
    let before = pod(&node, "before");
    node.add(&before).ok();
    server.stop();
    let copied = server.folder().join("copy");
    copy(server.store(), &copied);
    server.restart();
    let after = pod(&node, "after");
    node.add(&after).ok();
    server.kill9();
    fs::remove_dir_all(server.store()).expect("lose the store");
    copy(&copied, server.store());
    server.restart();
    let new = pod(&node, "new");
    node.add(&new).ok();
    all_differ(&[&before, &after, &new]);
    for pod in [&before, &after, &new] {
        node.del(pod).ok();
    }
}

#[tokio::test]
async fn a_restored_server_leases_nothing_new_before_it_has_heard_of_every_node() {
    let mut server = with_pool().await;
    let (one, two) = (
        node("heard", &server.socket()),
        node("silent", &server.socket()),
    );
    let (first, second) = (pod(&one, "first"), pod(&two, "second"));
    one.add(&first).ok();
    two.add(&second).ok();
    let backup = export(&server);
    let after = pod(&two, "after");
    two.add(&after).ok();
    restore(&mut server, &backup);

    let early = pod(&one, "early");
    let (code, message, _) = one.add(&early).error();
    assert!(
        code == 11 && message.contains(two.name()),
        "{code}: {message}"
    );
    let plain = server.lease_client().allocate(request("blue", "x")).await;
    let status = plain.expect_err("it waits");
    let reason = status.get_details_error_info().expect("a reason").reason;
    assert_eq!(
        (status.code(), reason.as_str()),
        (Code::Unavailable, "STORE_RESTORED")
    );
    assert!(status.get_details_retry_info().is_some());
    assert!(status.message().len() < 300, "{status:?}");
    let page = server.page("/readyz");
    assert!(
        page.status == 200 && page.body.contains(two.name()),
        "{page:?}"
    );
    assert!(!page.body.contains(one.name()), "{page:?}");
    assert_eq!(server.metric("ipam_awaited_nodes"), 1.0);
    assert!(server.log().contains(two.name()), "{}", server.log());

    let late = pod(&two, "late");
    two.add(&late).ok();
    one.add(&early).ok();
    all_differ(&[&first, &second, &after, &early, &late]);
    assert_eq!(server.page("/readyz").body, "ok\n");
    for (node, pod) in [
        (&one, &first),
        (&one, &early),
        (&two, &second),
        (&two, &after),
        (&two, &late),
    ] {
        assert_eq!(holder(&server, &address(pod)).await, pod.name);
        node.del(pod).ok();
    }
    assert_eq!(server.leases().await, []);
}

#[tokio::test]
async fn a_caller_without_records_is_served_once_the_wait_for_a_silent_node_is_over() {
    let backup = {
        let server = with_pool().await;
        let mut asked = request("blue", "gone");
        asked.owner.as_mut().expect("an owner").node = "silent".to_owned();
        let mut leases = server.lease_client();
        leases.allocate(asked).await.expect("allocate");
        export(&server)
    };
    let server = IpamServer::start_with(&["--restore-wait-seconds=2"]);
    import(&server, &backup);
    let mut leases = server.lease_client();
    let status = leases.allocate(request("blue", "web")).await;
    assert_eq!(status.expect_err("it waits").code(), Code::Unavailable);
    until("the wait is over", || async {
        let mut leases = server.lease_client();
        leases.allocate(request("blue", "web")).await.ok()
    })
    .await;
    wait_until("the log says so", PATIENCE, || {
        let words = "leases are made although these nodes have not reported";
        server.log().contains(words).then_some(())
    });
}

#[tokio::test]
async fn pods_that_start_at_once_report_once_and_those_after_them_not_at_all() {
    let mut server = with_pool().await;
    let node = node("crowd", &server.socket());
    let before = pod(&node, "before");
    node.add(&before).ok();
    let backup = export(&server);
    restore(&mut server, &backup);
    let pods: Vec<_> = (0..8).map(|n| pod(&node, &format!("pod-{n}"))).collect();
    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| node.add(pod).ok());
        }
    });
    assert_eq!(reports(&server), 1.0);
    let last = pod(&node, "last");
    node.add(&last).ok();
    assert_eq!(reports(&server), 1.0);
    let mut all: Vec<_> = pods.iter().collect();
    all.extend([&before, &last]);
    all_differ(&all);
    for pod in all {
        node.del(pod).ok();
    }
    node.assert_clean();
}

#[tokio::test]
async fn an_agent_reports_by_itself_what_its_node_holds() {
    let mut server = with_pool().await;
    let proxy = Proxy::start(&server);
    let state_dir = proxy.folder().join("state");
    let node = Node::new("agent").conf(json!({"stateDir": state_dir}));
    node.install(&locate::executable("meta-ipam"));
    // The agent's name is not the host's.
    blue_of(&node, &proxy.socket(), &state_dir, None);
    let before = pod(&node, "before");
    node.add(&before).ok();
    let backup = export(&server);
    let after = pod(&node, "after");
    node.add(&after).ok();
    restore(&mut server, &backup);
    let held = address(&after);
    until("the agent has reported", || async {
        let leases = server.leases().await;
        let lease = leases
            .into_iter()
            .find(|lease| lease.ipv4.starts_with(&format!("{held}/")))?;
        assert_eq!(lease.owner.expect("an owner").pod, "after");
        Some(())
    })
    .await;
    // No node is waited for any more, under any of its names.
    let mut client = server.lease_client();
    let other = client.allocate(request("blue", "other"));
    other.await.expect("nobody is awaited");
    let new = pod(&node, "new");
    node.add(&new).ok();
    all_differ(&[&before, &after, &new]);
    for pod in [&before, &after, &new] {
        node.del(pod).ok();
    }
    let left = server.leases().await.into_iter();
    let left: Vec<_> = left.filter_map(|lease| lease.owner).collect();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].pod, "other");
}

#[tokio::test]
async fn a_pool_that_is_created_anew_in_a_lost_store_allocates_no_address_that_a_pod_holds() {
    let mut server = with_pool().await;
    let node = node("anew", &server.socket());
    server.create_pool("green", "10.92.0.0/24", "").await;
    let held = pod(&node, "held");
    node.add(&held).ok();
    server.kill9();
    fs::remove_dir_all(server.store()).expect("lose the store");
    server.restart();
    server.create_pool("green", "10.92.0.0/24", "").await;
    // The node reports, and pool `blue` does not exist yet.
    let early = pod(&node, "early");
    node.add(&early).fails(7, &["blue"]);
    server.create_pool("blue", "10.91.0.0/24", "").await;
    let new = pod(&node, "new");
    node.add(&new).ok();
    all_differ(&[&held, &new]);
    assert_eq!(holder(&server, &address(&held)).await, "held");
}

#[tokio::test]
async fn an_address_of_another_owner_is_reported_and_keeps_no_pod_from_starting() {
    let mut server = with_pool().await;
    let node = node("conflict", &server.socket());
    let backup = export(&server);
    let held = pod(&node, "held");
    node.add(&held).ok();
    let taken = address(&held);
    restore(&mut server, &backup);
    let mut asked = request("blue", "other");
    asked.ips = vec![taken.clone()];
    server
        .lease_client()
        .allocate(asked)
        .await
        .expect("nobody is awaited");
    let new = pod(&node, "new");
    node.add(&new).ok();
    all_differ(&[&held, &new]);
    let files = fs::read_dir(node.state_dir().join("ipam-servers")).expect("a folder");
    let known = files.map(|file| file.expect("a file").path());
    let known = known.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    let text: String = known
        .map(|path| fs::read_to_string(path).expect("read it"))
        .collect();
    assert!(
        text.contains(&taken) && text.contains("default/other"),
        "{text}"
    );
}
