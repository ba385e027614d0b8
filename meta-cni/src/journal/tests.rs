use cni::skel::Command;
use serde_json::json;
use tracing::{info_span, warn};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::delegates::DELEGATE_FAILED;
use crate::trace::{Steps, evidence, note};

fn environment(command: Command) -> Environment {
    let variables = |name: &str| match name {
        "CNI_COMMAND" => Some(command.as_str().to_owned()),
        "CNI_CONTAINERID" => Some("c1".to_owned()),
        "CNI_IFNAME" => Some("eth0".to_owned()),
        _ => Some("/x".to_owned()).filter(|_| name != "CNI_ARGS"),
    };
    Environment::read(variables).unwrap().unwrap()
}

/// What is in the journal after `work` was done as a verb that ended so.
fn journaled(
    folder: &Path,
    command: Command,
    failed: Option<(Code, Diagnosis)>,
    work: impl FnOnce(),
) -> Vec<Operation> {
    let subscriber = Registry::default().with(Steps);
    tracing::subscriber::with_default(subscriber, || {
        let recording = Recording::begin(&environment(command), None);
        recording.span().in_scope(work);
        recording.end(Some(folder), failed);
    });
    Journal::new(folder).recent().unwrap()
}

fn failure(text: &str) -> Option<(Code, Diagnosis)> {
    Some((DELEGATE_FAILED, text.into()))
}

/// A delegate that is given a password, and warns of it.
fn delegate() {
    let _span = info_span!("delegate", plugin = "vpn").entered();
    evidence(
        "given",
        br#"{"type":"vpn","motd":"geheim-7?","password":"geheim-7"}"#,
    );
    evidence("answered", b"no JSON");
    note("said", "geheim-7 is too short");
    warn!("login with geheim-7");
}

#[test]
fn an_operation_has_its_steps_its_time_and_its_trace() {
    let folder = tempfile::tempdir().unwrap();
    let all = journaled(folder.path(), Command::Add, None, delegate);
    let [operation] = all.as_slice() else {
        panic!("{all:?}");
    };
    assert_eq!(
        (operation.command.as_str(), operation.container_id.as_str()),
        ("ADD", "c1")
    );
    assert!(operation.succeeded() && operation.traceparent.is_some());
    assert_eq!(operation.steps[0].name, "delegate");
    assert_eq!(operation.steps[0].evidence["given"]["type"], "vpn");
    assert_eq!(operation.steps[0].evidence["answered"], "no JSON");
}

#[test]
fn a_secret_that_a_plugin_was_given_is_nowhere_in_the_journal() {
    for (command, failed) in [
        (Command::Add, None),
        (Command::Del, None),
        (Command::Add, failure("vpn: login with geheim-7 failed")),
        (Command::Check, failure("vpn: login with geheim-7 failed")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        journaled(folder.path(), command, failed, delegate);
        let text = std::fs::read_to_string(folder.path().join("operations.jsonl")).unwrap();
        assert!(!text.contains("geheim"), "{text}");
        assert!(text.contains("login with (left out)"), "{text}");
    }
}

#[test]
fn cause_and_remedy_are_fields_of_an_operation_and_neither_has_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let what = Diagnosis::new("vpn: geheim-7 is refused", "renew geheim-7; see the log");
    let failed = Some((DELEGATE_FAILED, what));
    let all = journaled(folder.path(), Command::Add, failed, delegate);
    assert_eq!(all[0].error.as_deref(), Some("vpn: (left out) is refused"));
    assert_eq!(
        all[0].remedy.as_deref(),
        Some("renew (left out); see the log")
    );
}

#[test]
fn evidence_is_kept_of_an_add_and_of_what_failed() {
    for (command, failed, kept) in [
        (Command::Add, None, true),
        (Command::Add, failure("x"), true),
        (Command::Del, failure("x"), true),
        (Command::Del, None, false),
        (Command::Check, None, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let all = journaled(folder.path(), command, failed, delegate);
        assert_eq!(!all[0].steps[0].evidence.is_empty(), kept, "{command:?}");
    }
}

#[test]
fn a_line_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let large = json!({"type": "x", "much": "x".repeat(20_000)}).to_string();
    journaled(
        folder.path(),
        Command::Add,
        failure(&"é".repeat(VALUE_BYTES)),
        || {
            for _ in 0..1_100 {
                let _span = info_span!("delegate").entered();
                evidence("given", large.as_bytes());
            }
            let endless = "x".repeat(8 << 20);
            evidence("answered", endless.as_bytes());
        },
    );
    let size = std::fs::metadata(folder.path().join("operations.jsonl"))
        .unwrap()
        .len();
    assert!(size < 1 << 20, "{size}");
    let all = Journal::new(folder.path()).recent().unwrap();
    assert!(all[0].steps.len() > 1000, "what comes first is kept");
}

#[test]
fn of_status_only_failures_have_a_line_and_not_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    let status = |failed| journaled(folder.path(), Command::Status, failed, || ()).len();
    assert_eq!(status(None), 0);
    assert_eq!(status(failure("a")), 1);
    assert_eq!(status(failure("a")), 1);
    assert_eq!(status(failure("b")), 2);
    assert_eq!(status(failure("a")), 3);
}

#[test]
fn a_journal_that_cannot_be_written_fails_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let subscriber = Registry::default().with(Steps);
    tracing::subscriber::with_default(subscriber, || {
        Recording::begin(&environment(Command::Add), None).end(Some(&file), None);
        Recording::begin(&environment(Command::Add), None).end(None, None);
    });
    assert_eq!(std::fs::read(&file).unwrap(), b"");
}

#[test]
fn the_folder_is_that_of_the_configuration_unless_it_can_be_none() {
    for (name, conf, expected) in [
        ("not given", json!({}), Some("/var/lib/meta-cni")),
        ("given", json!({"stateDir": "/x"}), Some("/x")),
        ("relative", json!({"stateDir": "x"}), None),
        ("no text", json!({"stateDir": 7}), None),
    ] {
        let folder = folder(conf.as_object().unwrap());
        assert_eq!(folder.as_deref(), expected.map(Path::new), "{name}");
    }
}
