//! What an uninstall restores, and installers side by side.

use std::fs;

use super::super::changes::{Changes, Mode};
use super::super::claim::Claim;
use super::super::report::{Format, Report};
use super::super::round::{Installer, State};
use super::node::{CALICO, Node, OURS};

#[test]
fn an_uninstall_restores_the_nodes_files_as_they_were() {
    let node = Node::new()
        .with("/etc/cni/net.d/00-a.conflist", CALICO)
        .with("/etc/cni/net.d/10-b.conf", "{}")
        .with("/etc/cni/net.d/meta-cni.d/ipam.yaml", "servers: {}")
        .with("/opt/cni/bin/meta-ipam", "of a person")
        .with(OURS, "{\"by\": \"hand\"}");
    let before = node.files();
    node.install(&[]).0.unwrap();
    node.source("meta-cni", "meta-cni 2");
    node.source("meta-ipam", "meta-ipam 2");
    node.install(&[]).0.unwrap();
    assert_ne!(node.files(), before);
    let during = node.files();
    let text = node.uninstall(&["--dry-run"]);
    assert!(text.contains("would remove"), "{text}");
    assert_eq!(node.files(), during);
    node.uninstall(&[]);
    assert_eq!(node.files(), before);
    let text = node.uninstall(&[]);
    assert_eq!(text, "done: nothing is installed in /etc/cni/net.d\n");
    assert_eq!(node.files(), before);
}

#[test]
fn on_an_empty_node_an_uninstall_leaves_no_trace_but_empty_folders() {
    let node = Node::new().with("/etc/cni/net.d/10-calico.conflist", CALICO);
    let before = node.files();
    node.install(&[]).0.unwrap();
    node.uninstall(&[]);
    assert_eq!(node.files(), before);
    assert!(!node.here("/etc/cni/net.d/meta-cni.d").exists());
}

#[test]
fn what_others_changed_since_stays() {
    let node = Node::new().with("/etc/cni/net.d/00-a.conflist", CALICO);
    node.install(&[]).0.unwrap();
    fs::write(node.here("/opt/cni/bin/meta-cni"), "of others").unwrap();
    let newer = CALICO.replace("0.3.1", "1.0.0");
    fs::write(node.here("/etc/cni/net.d/00-a.conflist"), &newer).unwrap();
    let text = node.uninstall(&[]);
    assert!(
        text.contains("/opt/cni/bin/meta-cni was changed by others and stays"),
        "{text}"
    );
    let read = |path: &str| fs::read_to_string(node.here(path)).unwrap();
    assert_eq!(read("/opt/cni/bin/meta-cni"), "of others");
    assert_eq!(read("/etc/cni/net.d/00-a.conflist"), newer);
    assert!(!node.here(OURS).exists());
}

#[test]
fn an_uninstall_that_was_killed_is_finished_by_the_next() {
    let node = Node::new()
        .with("/opt/cni/bin/meta-ipam", "of a person")
        .with("/etc/cni/net.d/10-calico.conflist", CALICO);
    let before = node.files();
    node.install(&[]).0.unwrap();
    // As far as it came: the configuration, and an executable.
    fs::remove_file(node.here(OURS)).unwrap();
    fs::write(node.here("/opt/cni/bin/meta-ipam"), "of a person").unwrap();
    let text = node.uninstall(&[]);
    assert!(!text.contains("warning"), "{text}");
    assert_eq!(node.files(), before);
}

#[test]
fn a_receipt_of_a_later_version_is_refused_and_nothing_changed() {
    let node = Node::new().with(
        "/etc/cni/net.d/meta-cni.d/installed.json",
        r#"{"format":9,"entries":[]}"#,
    );
    let files = node.files();
    let error = node.install(&["--dry-run"]).0.unwrap_err().to_string();
    assert!(
        error.contains("it has format 9, this version knows 1"),
        "{error}"
    );
    assert_eq!(node.files(), files);
}

#[test]
fn an_installer_that_still_runs_after_an_uninstall_installs_nothing_again() {
    let node = Node::new()
        .with("/etc/cni/net.d/10-calico.conflist", CALICO)
        // The folder of meta-cni stays after an uninstall.
        .with("/etc/cni/net.d/meta-cni.d/ipam.yaml", "servers: {}");
    let before = node.files();
    let options = node.options(&["--agent-socket="]);
    let mut sink = Vec::new();
    let report = Report::new(Format::Text, Mode::Apply, &mut sink);
    let mut changes = Changes::new(Mode::Apply, report);
    let mut earlier = Installer::begin(&options, &changes).unwrap();
    assert_eq!(earlier.round(&mut changes).unwrap(), State::Done);
    node.uninstall(&[]);
    assert_eq!(earlier.round(&mut changes).unwrap(), State::Superseded);
    assert_eq!(node.files(), before);
}

#[test]
fn the_later_of_two_installers_works_and_the_earlier_goes_on_after_its_end() {
    let node = Node::new();
    let places = node.places();
    let mut sink = Vec::new();
    let report = Report::new(Format::Text, Mode::Apply, &mut sink);
    let changes = Changes::new(Mode::Apply, report);
    let earlier = Claim::make(&places, &changes).unwrap();
    assert!(earlier.holds());
    let later = Claim::make(&places, &changes).unwrap();
    assert!(later.holds() && !earlier.holds());
    later.end(&changes).unwrap();
    assert!(earlier.holds());
    let killed = Claim::make(&places, &changes).unwrap();
    let file = node.here("/etc/cni/net.d/meta-cni.d/installer");
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    assert!(earlier.holds() && !killed.holds());
}
