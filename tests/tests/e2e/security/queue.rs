//! Releases of leases that wait: in a folder that no link leads out of, none for what was never asked for, and none held up by
//! another one.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::thread;

use e2e::{IpamServer, Node};
use serde_json::{Value, json};

fn leasing(node: &Node) -> Value {
    let mut conf = node.recording("red", json!({}));
    conf["ipam"] = json!({ "type": "meta-ipam", "pool": "p" });
    conf
}

fn waiting(node: &Node) -> usize {
    let entries = fs::read_dir(node.state_dir().join("releases"));
    let names = entries.into_iter().flatten();
    let names = names.map(|entry| entry.expect("an entry").path());
    names
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .count()
}

#[tokio::test]
async fn no_link_leads_out_of_the_folder_and_an_open_one_is_closed() {
    let mut server = IpamServer::start();
    server.create_pool("p", "10.0.0.0/24", "").await;
    let node = Node::recorder("queue-link");
    node.leases_from(&server.address(), json!({}));
    node.nad("default", "red", leasing(&node));
    let pods = ["one", "two"].map(|name| {
        let pod = node.pod("default", name).networks("red").create();
        node.add(&pod).ok();
        pod
    });
    server.kill9();
    let (elsewhere, releases) = (
        node.folder().join("elsewhere"),
        node.state_dir().join("releases"),
    );
    fs::create_dir(&elsewhere).expect("make a folder");
    let _absent = fs::remove_dir_all(&releases);
    symlink(&elsewhere, &releases).expect("make a link");
    node.del(&pods[0]).ok();
    assert_eq!(fs::read_dir(&elsewhere).expect("read").count(), 0);
    fs::remove_file(&releases).expect("remove the link");
    fs::create_dir(&releases).expect("make a folder");
    fs::set_permissions(&releases, fs::Permissions::from_mode(0o777)).expect("open it");
    node.del(&pods[1]).ok();
    assert_eq!(waiting(&node), 1);
    let mode =
        |path: &std::path::Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&releases), 0o700);
    for entry in fs::read_dir(&releases).expect("read") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn nothing_is_kept_for_a_batch_that_no_server_was_asked_for() {
    let node = Node::recorder("queue-away");
    let socket = node.folder().join("ipam.sock");
    let address = format!("unix://{}", socket.display());
    node.leases_from(&address, json!({ "timeoutSeconds": 1 }));
    node.nad("default", "red", leasing(&node));
    let pod = node.pod("default", "web").networks("red,red").create();
    node.add(&pod).fails(11, &["cannot be reached"]);
    assert_eq!(waiting(&node), 0, "no server was there");
    // One that takes the question and never answers may have leased.
    let listener = UnixListener::bind(&socket).expect("listen");
    thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            held.push(stream);
        }
    });
    node.add(&pod).fails(11, &[]);
    assert_eq!(waiting(&node), 2, "the answer may be lost only");
    assert!(node.calls().is_empty());
}

/// A server that takes connections, and says nothing; gives how many it has lost.
fn silent() -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let lost = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lost);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            thread::spawn(move || {
                let mut bytes = [0; 1024];
                while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
                counted.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    (address, lost)
}

/// Names come in the order of servers: the silent one is first.
#[test]
fn a_server_that_is_stuck_holds_up_no_release_of_another() {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    let server = IpamServer::start();
    let node = Node::recorder("queue-stuck").with_agent();
    let (address, lost) = silent();
    let releases = node.state_dir().join("releases");
    fs::create_dir_all(&releases).expect("make a folder");
    let write = |name: &str, address: &str| {
        let release = json!({
            "server": { "address": address }, "network": "n", "containerId": name, "ifname": "net1",
        });
        fs::write(releases.join(format!("{name}.json")), release.to_string())
            .expect("write a release");
    };
    write("stuck", &address);
    write("good", &server.address());
    let agent = e2e::Agent::start(&node, e2e::ApiServer::shared());
    let delivered = || (!releases.join("good.json").exists()).then_some(());
    e2e::wait_until(
        "the other one is delivered",
        Duration::from_secs(60),
        delivered,
    );
    assert_eq!(
        lost.load(Ordering::Relaxed),
        0,
        "the stuck one was given up before"
    );
    let show = || {
        agent
            .page("/healthz")
            .contains("that wait for their server: 1,")
            .then_some(())
    };
    e2e::wait_until("the pages show it", Duration::from_secs(60), show);
    assert!(agent.page("/healthz").contains("ok\n"));
    assert_eq!(agent.metric("meta_cni_releases_waiting"), 1.0);
    assert!(agent.metric("meta_cni_releases_oldest_age_seconds") > 0.0);
}
