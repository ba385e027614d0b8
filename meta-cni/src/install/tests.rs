//! Installations into folders that look like a node's.

mod answering;
mod node;
mod undone;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use serde_json::{Value, json};

use super::Outcome;
use node::{CALICO, CONF, Node, OURS};

#[test]
fn the_executables_come_first_and_the_configuration_is_the_first_of_the_folder() {
    let node = Node::new().with("/etc/cni/net.d/10-calico.conflist", CALICO);
    let (outcome, text) = node.install(&[]);
    assert_eq!(outcome.unwrap(), Outcome::Done);
    let order: Vec<&str> = text
        .lines()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    let written = |path: &str| format!("written {}", node.here(path).display());
    assert_eq!(
        order,
        [
            written("/opt/cni/bin/meta-cni"),
            written("/opt/cni/bin/meta-ipam"),
            written(OURS)
        ]
    );
    for name in ["meta-cni", "meta-ipam"] {
        let path = node.here(&format!("/opt/cni/bin/{name}"));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{name} 1"));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }
    let conf = node.conf();
    assert_eq!(conf["cniVersion"], "0.3.1", "of the primary network");
    let plugin = &conf["plugins"][0];
    let primary = json!("/etc/cni/net.d/10-calico.conflist");
    assert_eq!(plugin["clusterNetwork"], primary);
    assert_eq!(plugin["readinessindicatorfile"], primary);
    assert_eq!(
        plugin["capabilities"],
        json!({"portMappings": true, "bandwidth": true, "aliases": true})
    );
    let listed = cni::netconf::configuration_files(&node.here("/etc/cni/net.d")).unwrap();
    assert!(listed[0].ends_with(CONF), "{listed:?}");
    let hidden = fs::read_dir(node.here("/etc/cni/net.d")).unwrap();
    assert_eq!(hidden.count(), 3, "and meta-cni.d, and no temporary file");
}

#[test]
fn a_second_installation_leaves_everything_alone() {
    let node = Node::new().with("/etc/cni/net.d/10-calico.conflist", CALICO);
    node.install(&[]).0.unwrap();
    let id = |path: &str| fs::metadata(node.here(path)).unwrap().ino();
    let paths = ["/opt/cni/bin/meta-cni", "/opt/cni/bin/meta-ipam", OURS];
    let before = paths.map(id);
    let (outcome, text) = node.install(&[]);
    assert_eq!(outcome.unwrap(), Outcome::Done);
    assert_eq!((text.as_str(), paths.map(id)), ("", before));
}

#[test]
fn an_executable_that_runs_is_replaced_beside_it() {
    let node = Node::new().with("/etc/cni/net.d/10-calico.conflist", CALICO);
    node.install(&[]).0.unwrap();
    let target = node.here("/opt/cni/bin/meta-cni");
    // An open file is what a running executable is to the kernel.
    let running = fs::File::open(&target).unwrap();
    node.source("meta-cni", "meta-cni 2");
    let (outcome, text) = node.install(&[]);
    outcome.unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "meta-cni 2");
    assert_eq!(std::io::read_to_string(running).unwrap(), "meta-cni 1");
}

#[test]
fn without_a_primary_network_or_an_agent_no_configuration_is_written() {
    let none = Node::new();
    let (outcome, text) = none.install(&["--wait-seconds=0"]);
    let error = outcome.unwrap_err().to_string();
    assert!(
        error.starts_with(
            "waited 0 s in vain: for the primary network's configuration in /etc/cni/net.d"
        ),
        "{error}"
    );
    assert!(
        text.contains("meta-ipam"),
        "the executables are there already: {text}"
    );
    assert!(!none.here(OURS).exists());

    let silent = Node::new().with("/etc/cni/net.d/10-calico.conflist", CALICO);
    let (outcome, _) = silent.install_with_agent(&["--wait-seconds=0"]);
    let error = outcome.unwrap_err().to_string();
    assert!(
        error.contains("before the configuration is written: the agent of this node"),
        "{error}"
    );
    assert!(!silent.here(OURS).exists());
    // A node that has the configuration keeps it: its ADDs wait for the agent.
    silent.install(&[]).0.unwrap();
    assert_eq!(
        silent.install_with_agent(&["--wait-seconds=0"]).0.unwrap(),
        Outcome::Done
    );
}

#[test]
fn the_first_usable_file_is_the_primary_networks() {
    let multus = r#"{"cniVersion":"0.3.1","name":"multus","type":"multus","delegates":[]}"#;
    let loopback = r#"{"cniVersion":"0.3.1","name":"lo","type":"loopback"}"#;
    let half = r#"{"cniVersion":"0.3.1","na"#;
    let node = Node::new()
        .with("/etc/cni/net.d/00-multus.conf", multus)
        .with("/etc/cni/net.d/05-half.conflist", half)
        .with("/etc/cni/net.d/06-lo.conf", loopback)
        .with("/etc/cni/net.d/10-calico.conflist", CALICO);
    let (outcome, text) = node.install(&["-o=json"]);
    outcome.unwrap();
    assert_eq!(node.primary(), "/etc/cni/net.d/10-calico.conflist");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let warned = lines.iter().filter(|line| line["action"] == "warn");
    assert_eq!(warned.count(), 2, "{text}");
}

#[test]
fn the_primary_network_is_followed_when_it_changes_comes_later_or_is_named() {
    let node = Node::new().with("/etc/cni/net.d/10-calico.conflist", CALICO);
    node.install(&[]).0.unwrap();
    let node = node.with(
        "/etc/cni/net.d/05-cilium.conflist",
        &CALICO.replace("k8s-pod-network", "cilium"),
    );
    node.install(&[]).0.unwrap();
    assert_eq!(node.primary(), "/etc/cni/net.d/05-cilium.conflist");
    node.install(&["--primary=10-calico.conflist"]).0.unwrap();
    assert_eq!(node.primary(), "/etc/cni/net.d/10-calico.conflist");
    node.install(&["--primary=/etc/cni/net.d/05-cilium.conflist"])
        .0
        .unwrap();
    assert_eq!(node.primary(), "/etc/cni/net.d/05-cilium.conflist");
    // When it is gone, the configuration stays, and ADDs wait for it.
    for name in ["05-cilium", "10-calico"] {
        fs::remove_file(node.here(&format!("/etc/cni/net.d/{name}.conflist"))).unwrap();
    }
    node.install(&["--wait-seconds=0"]).0.unwrap_err();
    assert_eq!(node.primary(), "/etc/cni/net.d/05-cilium.conflist");
}

#[test]
fn a_configuration_that_would_come_before_ours_is_moved_and_still_followed() {
    let node = Node::new().with("/etc/cni/net.d/00-a.conflist", CALICO);
    node.install(&[]).0.unwrap();
    let aside = "/etc/cni/net.d/meta-cni.d/aside/00-a.conflist";
    assert_eq!(node.primary(), aside);
    assert!(node.here(aside).exists() && !node.here("/etc/cni/net.d/00-a.conflist").exists());
    // Its installer writes it again, in another version.
    let node = node.with(
        "/etc/cni/net.d/00-a.conflist",
        &CALICO.replace("0.3.1", "1.0.0"),
    );
    node.install(&[]).0.unwrap();
    assert_eq!(node.primary(), aside);
    assert_eq!(node.conf()["cniVersion"], "1.0.0");
    assert!(!node.here("/etc/cni/net.d/00-a.conflist").exists());
}

#[test]
fn each_layout_is_installed_where_its_runtime_looks() {
    for (layout, conf, bin, primary) in [
        (
            "standard",
            "/etc/cni/net.d",
            "/opt/cni/bin",
            "/etc/cni/net.d",
        ),
        ("debian", "/etc/cni/net.d", "/usr/lib/cni", "/etc/cni/net.d"),
        (
            "k3s",
            "/var/lib/rancher/k3s/agent/etc/cni/net.d",
            "/var/lib/rancher/k3s/data/cni",
            "/var/lib/rancher/k3s/agent/etc/cni/net.d",
        ),
        ("rke2", "/etc/cni/net.d", "/opt/cni/bin", "/etc/cni/net.d"),
        (
            "microk8s",
            "/var/snap/microk8s/current/args/cni-network",
            "/var/snap/microk8s/current/opt/cni/bin",
            "/var/snap/microk8s/current/args/cni-network",
        ),
        (
            "openshift",
            "/etc/kubernetes/cni/net.d",
            "/var/lib/cni/bin",
            "/run/multus/cni/net.d",
        ),
        ("talos", "/etc/cni/net.d", "/opt/cni/bin", "/etc/cni/net.d"),
    ] {
        let file = format!("{primary}/10-primary.conflist");
        let node = Node::new().with(&file, CALICO);
        let layout_flag = format!("--layout={layout}");
        node.install(&[&layout_flag]).0.unwrap();
        assert!(node.here(&format!("{bin}/meta-cni")).exists(), "{layout}");
        let text = fs::read_to_string(node.here(&format!("{conf}/{CONF}"))).unwrap();
        let written: Value = serde_json::from_str(&text).unwrap();
        let plugin = &written["plugins"][0];
        assert_eq!(plugin["clusterNetwork"], file, "{layout}");
        let named = plugin.get("binDir").and_then(Value::as_str);
        assert_eq!(named.unwrap_or("/opt/cni/bin"), bin, "{layout}");
    }
}

#[test]
fn settings_are_keys_of_the_configuration_and_are_checked() {
    let node = Node::new()
        .with("/etc/cni/net.d/10-calico.conflist", CALICO)
        .with(
            "/settings.yaml",
            "attachmentPolicy: report\nnamespaceIsolation: true\n",
        );
    let settings = format!("--settings={}", node.here("/settings.yaml").display());
    node.install(&[&settings, "--cni-version=1.1.0"]).0.unwrap();
    let conf = node.conf();
    assert_eq!(conf["cniVersion"], "1.1.0");
    assert_eq!(conf["plugins"][0]["attachmentPolicy"], "report");
    assert_eq!(conf["plugins"][0]["namespaceIsolation"], true);
    for (text, words) in [
        (
            "agentSocket: /x",
            "agentSocket is what the installer writes itself",
        ),
        ("maxParallelDelegates: many", "maxParallelDelegates"),
        ("- a list", "settings.yaml"),
    ] {
        fs::write(node.here("/settings.yaml"), text).unwrap();
        let error = node.install(&[&settings]).0.unwrap_err();
        let error = cni::error::with_causes(&error);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_dry_run_changes_nothing_and_a_check_fails_until_it_is_installed() {
    let node = Node::new().with("/etc/cni/net.d/00-a.conflist", CALICO);
    let files = node.files();
    let (outcome, text) = node.install(&["--dry-run"]);
    assert_eq!(outcome.unwrap(), Outcome::Done);
    assert_eq!(text.matches("would write").count(), 3, "{text}");
    assert_eq!(text.matches("would move").count(), 1, "{text}");
    assert_eq!(node.install(&["--check"]).0.unwrap(), Outcome::Missing);
    assert_eq!(node.files(), files);
    node.install(&[]).0.unwrap();
    assert_eq!(node.install(&["--check"]).0.unwrap(), Outcome::Done);
}

#[test]
fn what_a_killed_installer_left_half_written_is_removed() {
    let node = Node::new()
        .with("/etc/cni/net.d/10-calico.conflist", CALICO)
        .with("/opt/cni/bin/.meta-cni-new-1", "half");
    node.install(&[]).0.unwrap();
    assert!(!node.here("/opt/cni/bin/.meta-cni-new-1").exists());
}
