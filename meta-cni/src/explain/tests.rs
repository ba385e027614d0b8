use clap::Parser;
use cni::netconf::NetConfList;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::attachment::Attachment;
use crate::cluster::PodRef;
use crate::journal::Operation;
use crate::record::{Phase, Record};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// A node's folder.
struct Node(TempDir);

impl Node {
    fn new() -> Node {
        Node(tempfile::tempdir().unwrap())
    }

    /// The folder with this in its journal.
    fn with(operations: &[Operation]) -> Node {
        let node = Node::new();
        let journal = Journal::new(node.0.path());
        for operation in operations {
            journal
                .append(&serde_json::to_vec(operation).unwrap())
                .unwrap();
        }
        node
    }

    fn record(&self, container_id: &str, phase: Phase) {
        let conf = json!({"cniVersion": "1.0.0", "name": "lan", "plugins": [{"type": "vpn", "psk": "geheim-7"}]});
        let attachment = Attachment {
            network: "shop/lan".to_owned(),
            ifname: "net1".to_owned(),
            args: "IgnoreUnknown=1;TOKEN=geheim-8".to_owned(),
            list: NetConfList::from_value(conf).unwrap(),
            check_by_plugins: false,
            default_route: None,
            device: None,
            device_info_file: None,
        };
        let records = Records::new(self.0.path());
        records.make_folders().unwrap();
        let pod = Some(pod("shop", "web"));
        let mut record = Record::planned(container_id, "/run/netns/x", pod, vec![attachment]);
        record.attachments[0].phase = phase;
        let sandbox = records.lock(container_id, std::time::Duration::from_secs(60));
        sandbox.unwrap().save_durably(&record).unwrap();
    }

    fn explain(&self, arguments: &[&str]) -> Result<Option<String>, ExplainError> {
        let folder = self.0.path().to_str().unwrap();
        let line = ["explain", "--state-dir", folder];
        let line = Line::parse_from(line.iter().chain(arguments));
        let mut text = Vec::new();
        let known = run(&line.options, &mut text, &mut std::io::sink())?;
        Ok(known.then(|| String::from_utf8(text).unwrap()))
    }

    fn first_line(&self, what: &str) -> String {
        let text = self.explain(&[what]).unwrap().unwrap();
        text.lines().next().unwrap_or_default().to_owned()
    }
}

fn pod(namespace: &str, name: &str) -> PodRef {
    PodRef {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: None,
    }
}

fn operation(command: &str, container_id: &str, error: Option<&str>) -> Operation {
    let steps = json!([{
        "name": "delegate",
        "id": "0000000000000001",
        "fields": {"plugin": "vpn", "result": "failed"},
        "error": error,
        "evidence": {"given": {"type": "vpn"}}
    }]);
    Operation {
        time: Timestamp::now(),
        command: command.to_owned(),
        container_id: container_id.to_owned(),
        pod: Some(pod("shop", "web")),
        code: error.map(|_| cni::error::Code(42)),
        error: error.map(str::to_owned),
        steps: serde_json::from_value(steps).unwrap(),
        ..Operation::default()
    }
}

const ID: &str = "0123456789abcdef0123";

#[test]
fn the_first_line_says_how_the_sandbox_is() {
    let add = || operation("ADD", ID, None);
    let failed = |command| operation(command, ID, Some("no uplink"));
    for (name, operations, phase, start) in [
        (
            "attached",
            vec![add()],
            Some(Phase::Added),
            "shop/web: attached 0s ago: net1",
        ),
        (
            "the journal is gone",
            vec![],
            Some(Phase::Added),
            "shop/web: attached 0s ago: net1",
        ),
        (
            "impaired",
            vec![add(), failed("CHECK")],
            Some(Phase::Added),
            "shop/web: attached, but CHECK failed 0s ago: no uplink",
        ),
        (
            "failed",
            vec![failed("ADD")],
            None,
            "shop/web: ADD failed 0s ago: no uplink",
        ),
        (
            "failed and deleted",
            vec![failed("ADD"), operation("DEL", ID, None)],
            None,
            "shop/web: ADD failed 0s ago: no uplink",
        ),
        (
            "not undone",
            vec![failed("ADD"), operation("CHECK", ID, Some("not completed"))],
            Some(Phase::Deleting),
            "shop/web: ADD failed, and could not be undone 0s ago; DEL tries again: no uplink",
        ),
        (
            "neither undone nor deleted",
            vec![failed("ADD"), operation("DEL", ID, Some("busy"))],
            Some(Phase::Deleting),
            "shop/web: DEL failed 0s ago, and is to be tried again: busy",
        ),
        (
            "killed",
            vec![],
            Some(Phase::Planned),
            "shop/web: an ADD was begun 0s ago and has not ended",
        ),
        (
            "not deleted",
            vec![add(), failed("DEL")],
            Some(Phase::Deleting),
            "shop/web: DEL failed 0s ago, and is to be tried again: no uplink",
        ),
        (
            "deleted",
            vec![add(), operation("DEL", ID, None)],
            None,
            "shop/web: deleted 0s ago by DEL",
        ),
    ] {
        let node = Node::with(&operations);
        if let Some(phase) = phase {
            node.record(ID, phase);
        }
        let line = node.first_line("shop/web");
        // A second may pass.
        let line = line.replace(" 1s ago", " 0s ago");
        assert!(line.starts_with(start), "{name}: {line}");
    }
}

#[test]
fn a_pod_and_a_container_are_found_by_what_tools_print_of_them() {
    let node = Node::with(&[operation("ADD", ID, None)]);
    for arguments in [
        &["web"][..],
        &["shop/web"],
        &["web", "-n", "shop"],
        &[ID],
        &[&ID[..13]],
    ] {
        assert!(node.explain(arguments).unwrap().is_some(), "{arguments:?}");
    }
    for arguments in [
        &["we"][..],
        &["other/web"],
        &["web", "-n", "other"],
        &["0123"],
    ] {
        assert!(node.explain(arguments).unwrap().is_none(), "{arguments:?}");
    }
    assert!(Node::new().explain(&["web"]).unwrap().is_none());
}

#[test]
fn a_name_in_two_namespaces_must_be_distinguished() {
    let mut other = operation("ADD", "other", None);
    other.pod = Some(pod("bar", "web"));
    let node = Node::with(&[operation("ADD", ID, None), other]);
    let error = node.explain(&["web"]).unwrap_err().to_string();
    assert!(error.contains("bar/web, shop/web"), "{error}");
    assert!(node.explain(&["bar/web"]).unwrap().is_some());
}

#[test]
fn the_newest_sandbox_is_shown_and_the_earlier_ones_named() {
    let mut first = operation("ADD", "first", Some("no uplink"));
    first.time -= jiff::SignedDuration::from_secs(90);
    let late_del = operation("DEL", "first", None);
    let node = Node::with(&[first, operation("ADD", ID, None), late_del]);
    node.record(ID, Phase::Added);
    let text = node.explain(&["shop/web"]).unwrap().unwrap();
    assert!(text.starts_with("shop/web: attached"), "{text}");
    assert!(
        text.contains("Earlier sandboxes of this pod:\n  first  shop/web: ADD failed"),
        "{text}"
    );
}

#[test]
fn a_failure_is_reported_with_its_step_what_the_plugin_was_given_and_one_remedy() {
    let node = Node::with(&[operation("ADD", ID, Some("no uplink; port 7"))]);
    let text = node.explain(&["web"]).unwrap().unwrap();
    for words in [
        "remedy: correct what vpn names",
        "delegate plugin=vpn",
        "given: {\"type\":\"vpn\"}",
        "failed: no uplink",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(text.matches("remedy:").count(), 1);
    let json = node.explain(&["web", "-o", "json"]).unwrap().unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["state"], "failed");
    assert_eq!(json["operations"][0]["code"], 42);
    assert!(json["remedy"].is_string());
}

#[test]
fn the_remedy_of_a_known_failure_stands_once_and_in_a_line_of_its_own() {
    let why = "could not set bridge's mac: invalid argument";
    let remedy = "the next tries succeed; install 1.10";
    let mut failed = operation("ADD", ID, Some(why));
    failed.steps[0]
        .fields
        .insert("plugin".to_owned(), json!("bridge"));
    failed.error = Some(format!("network shop/lan (net1): bridge ADD: {why}"));
    failed.remedy = Some(remedy.to_owned());
    let node = Node::with(&[failed]);
    let text = node.explain(&["web"]).unwrap().unwrap();
    let mut lines = text.lines();
    let first = lines.next().unwrap();
    assert!(first.ends_with(&format!("bridge ADD: {why}")), "{first}");
    assert_eq!(lines.next().unwrap(), format!("remedy: {remedy}"));
    assert_eq!(text.matches(remedy).count(), 1, "{text}");
}

#[test]
fn secrets_of_a_record_are_left_out() {
    let node = Node::new();
    node.record(ID, Phase::Added);
    for arguments in [&["web"][..], &["web", "-o", "json"]] {
        let text = node.explain(arguments).unwrap().unwrap();
        assert!(
            text.contains("shop/lan") && text.contains("(left out)"),
            "{text}"
        );
        assert!(!text.contains("geheim"), "{text}");
    }
}

/// GC that deleted `shop/fine` as `ID`, and could not delete `shop/bad` as `other`.
fn gc() -> Operation {
    let why = "network shop/bad (net1): vpn DEL: busy";
    let steps = json!([
        {"name": "sandbox", "id": "0000000000000001", "fields": {"container_id": ID, "pod": "shop/fine"}},
        {"name": "attachment", "id": "0000000000000002", "parent": "0000000000000001"},
        {"name": "delegate", "id": "0000000000000003", "parent": "0000000000000002", "fields": {"plugin": "lan"}},
        {"name": "sandbox", "id": "0000000000000004", "fields": {"container_id": "other", "pod": "shop/bad"}, "error": why},
        {"name": "delegate", "id": "0000000000000005", "parent": "0000000000000004",
            "fields": {"plugin": "vpn", "result": "failed"}, "error": "busy"},
        {"name": "delegate", "id": "0000000000000006", "fields": {"plugin": "ours"}},
    ]);
    Operation {
        pod: None,
        steps: serde_json::from_value(steps).unwrap(),
        ..operation("GC", "", Some(why))
    }
}

#[test]
fn of_gc_each_sandbox_shows_what_was_done_with_it_and_how_that_ended() {
    let node = Node::with(&[gc()]);
    let fine = node.explain(&["fine"]).unwrap().unwrap();
    assert!(fine.starts_with("shop/fine: deleted "), "{fine}");
    for other in ["remedy", "bad", "vpn", "ours"] {
        assert!(!fine.contains(other), "{other}: {fine}");
    }
    let bad = node.explain(&["bad"]).unwrap().unwrap();
    for words in ["(net1): vpn DEL: busy", "remedy: correct what vpn names"] {
        assert!(bad.contains(words), "{words}: {bad}");
    }
    assert!(!bad.contains("lan"), "{bad}");
}

#[test]
fn a_record_that_cannot_be_read_is_reported_with_what_to_do() {
    let node = Node::with(&[operation("ADD", ID, None)]);
    node.record(ID, Phase::Added);
    std::fs::write(node.0.path().join(format!("attachments/{ID}.json")), "{").unwrap();
    let text = node.explain(&["web"]).unwrap().unwrap();
    assert!(
        text.contains("is not a record that can be read") && text.contains("remedy: "),
        "{text}"
    );
}

#[test]
fn without_a_journal_that_can_be_read_the_record_is_shown_and_that_it_is_all() {
    let node = Node::new();
    node.record(ID, Phase::Added);
    std::fs::create_dir(node.0.path().join("operations.jsonl")).unwrap();
    assert!(node.first_line("web").starts_with("shop/web: attached"));
    let json = node.explain(&["web", "-o", "json"]).unwrap().unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    let note = json["note"].as_str().unwrap();
    assert!(note.contains("operations.jsonl"), "{note}");
    let folder = node.0.path().to_str().unwrap();
    let line = Line::parse_from(["explain", "web", "--state-dir", folder]);
    let (mut text, mut notes) = (Vec::new(), Vec::new());
    run(&line.options, &mut text, &mut notes).unwrap();
    assert!(String::from_utf8(notes).unwrap().contains(note));
}
