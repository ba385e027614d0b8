//! The agent as a process: its socket, its successor, its end, its pages.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::openmetrics::Rules;
use e2e::{Agent, ApiServer, Node, wait_until};

use crate::agent::fixture::{PATIENCE, node};

#[test]
fn the_socket_is_for_root_only_and_its_folder_is_never_wiped() {
    let node = Node::new("rights").with_agent();
    let folder = node.folder().join("run");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(folder.join("ipam.sock"), "somebody else's").unwrap();
    // What a killed agent leaves.
    drop(std::os::unix::net::UnixListener::bind(node.agent_socket()).unwrap());
    let mut agent = Agent::start(&node, ApiServer::shared());
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(node.agent_socket()), 0o600);
    assert_eq!(mode(folder.clone()), 0o700);
    assert!(agent.stop().success());
    assert!(!node.agent_socket().exists());
    let left: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["ipam.sock"]);
}

#[test]
fn a_start_removes_what_killed_processes_were_writing_once_it_is_old() {
    let node = Node::new("abandoned").with_agent();
    let day = Duration::from_secs(24 * 3600);
    let old = node.write_aged("releases/c1.1.json.77.new", day + day);
    let young = node.write_aged("releases/c2.1.json.77.new", day);
    let _agent = Agent::start(&node, ApiServer::shared());
    assert_eq!((old.exists(), young.exists()), (false, true));
}

#[test]
fn another_user_gets_no_answer() {
    let (node, agent) = node("peer");
    // The rights of the files are loosened, so that only the agent itself can refuse.
    let open = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(node.folder().to_owned(), 0o755);
    open(node.agent_socket().parent().unwrap().to_owned(), 0o755);
    open(node.agent_socket(), 0o666);
    let url = "http://localhost/agent.v1.AgentService/GetStatus";
    let asked = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "curl",
            "--silent",
            "--show-error",
        ])
        .args([
            "--http2-prior-knowledge",
            "--max-time",
            "20",
            "--unix-socket",
        ])
        .arg(node.agent_socket())
        .args([
            "--data-binary",
            "@/dev/null",
            "-H",
            "content-type: application/grpc",
            url,
        ])
        .output()
        .unwrap();
    assert!(!asked.status.success(), "{asked:?}");
    wait_until("the refusal is in the log", PATIENCE, || {
        agent.log().contains("only root may ask").then_some(())
    });
}

#[test]
fn a_new_agent_takes_over_while_pods_start() {
    let ((node, mut agent), api) = (node("over"), ApiServer::shared());
    let done = AtomicBool::new(false);
    let pods: Vec<_> = (0..24)
        .map(|n| node.pod("over", &format!("web-{n}")).create_in(api))
        .collect();
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| {
            for pod in &pods {
                node.add(pod).ok();
            }
            done.store(true, Ordering::Release);
        });
        let mut rounds = 0;
        while !done.load(Ordering::Acquire) || rounds < 3 {
            let before = fs::metadata(node.agent_socket()).unwrap().ino();
            let mut next = agent.successor();
            next.restart();
            assert_ne!(fs::metadata(node.agent_socket()).unwrap().ino(), before);
            assert!(agent.stop().success());
            assert!(node.agent_socket().exists());
            agent = next;
            rounds += 1;
        }
        adding.join().unwrap();
    });
    for pod in &pods {
        assert!(api.network_status("over", &pod.name).is_array());
        node.del(pod).ok();
    }
    node.assert_clean();
}

#[test]
fn an_agent_whose_place_was_lost_is_found_again() {
    let ((node, agent), api) = (node("lost"), ApiServer::shared());
    // Another one takes the place, and is killed.
    let mut next = agent.successor();
    next.restart();
    next.kill9();
    let first = node.pod("lost", "first").create_in(api);
    node.add(&first).ok();
    fs::remove_file(node.agent_socket()).unwrap();
    let second = node.pod("lost", "second").create_in(api);
    node.add(&second).ok();
    for pod in [&first, &second] {
        assert!(api.network_status("lost", &pod.name).is_array());
        node.del(pod).ok();
    }
    drop(agent);
    node.assert_clean();
}

#[test]
fn a_new_agent_waits_for_the_address_of_the_pages_and_serves_meanwhile() {
    let (node, api) = (Node::new("port").with_agent(), ApiServer::shared());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--metrics-listen={}", free.local_addr().unwrap());
    drop(free);
    let mut agent = Agent::start_with(&node, api, &[&listen]);
    let mut next = agent.successor();
    next.restart();
    assert!(agent.stop().success());
    wait_until("the new one's pages", PATIENCE, || {
        next.try_page("/readyz")
            .is_some_and(|page| page.starts_with("HTTP/1.0 200"))
            .then_some(())
    });
    let pod = node.pod("port", "web").create_in(api);
    node.add(&pod).ok();
    node.del(&pod).ok();
    drop(next);
    node.assert_clean();
}

#[test]
fn an_agent_that_is_not_let_in_says_what_is_missing() {
    let api = ApiServer::shared();
    let node = Node::new("unfit").with_agent();
    let nobody = api.kubeconfig_for("default", "nobody");
    let argument = format!("--kubeconfig={}", nobody.display());
    let mut agent = Agent::stopped(&node, api, &[&argument]);
    agent.launch();
    wait_until("the reason is in the log", PATIENCE, || {
        let log = agent.log();
        (log.contains("pods") && log.contains("deploy/agent-rbac.yaml")).then_some(())
    });
    assert!(!node.agent_socket().exists());
    agent.kill9();
}

#[test]
fn an_agent_in_a_pod_without_its_nodes_name_says_how_to_set_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("--socket={}", folder.path().join("agent.sock").display());
    let started = Command::new(e2e::locate::executable("meta-cnid"))
        .args([&socket, "--metrics-listen=127.0.0.1:0"])
        .envs([
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", "1"),
        ])
        .output()
        .unwrap();
    let reported = String::from_utf8_lossy(&started.stderr);
    assert_eq!(started.status.code(), Some(1), "{reported}");
    assert!(reported.contains("META_CNID_NODE_NAME"), "{reported}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_pages_show_the_state_of_the_agent() {
    let (node, agent) = node("pages");
    assert!(agent.page("/healthz").starts_with("HTTP/1.0 200"));
    assert!(agent.page("/readyz").starts_with("HTTP/1.0 200"));
    assert!(agent.page("/nothing").starts_with("HTTP/1.0 404"));
    let metrics = agent.page("/metrics");
    for series in [
        "meta_cni_build_info{version=",
        "meta_cni_watch_age_seconds{kind=\"pods\"}",
        "# EOF",
    ] {
        assert!(metrics.contains(series), "{series}: {metrics}");
    }
    let pod = node.pod("pages", "web").create_in(ApiServer::shared());
    node.add(&pod).ok();
    wait_until("the ADD is counted", PATIENCE, || {
        let reported = agent
            .page("/metrics")
            .contains("meta_cni_operation_duration_seconds_count");
        reported.then_some(())
    });
    let metrics = agent.page("/metrics");
    let (_head, text) = metrics.split_once("\r\n\r\n").expect("an empty line");
    let rules = Rules {
        prefix: "meta_cni_",
        labels: &[
            "code", "command", "kind", "le", "method", "mode", "network", "plugin", "result",
            "verb", "version",
        ],
    };
    let samples = rules.lint(text);
    assert!(samples.len() > 20, "{samples:?}");
    node.del(&pod).ok();
    node.assert_clean();
}
