//! Rubbish on standard input, in annotations and in networks: an error object of bounded size, never a
//! panic, and never a delegate that is run.

use e2e::{Node, Outcome};
use serde_json::{Value, json};

/// A fault of meta-cni itself (cni/error.rs).
const INTERNAL: u64 = 999;

/// What a runtime may have to put into an Event.
const OUTPUT_BYTES: usize = 64 << 10;

#[track_caller]
fn assert_refused(outcome: &Outcome, what: &str) {
    assert_eq!(outcome.status.code(), Some(1), "{what}: {outcome}");
    let (code, message, _) = outcome.error();
    assert!((1..INTERNAL).contains(&code), "{what}: {outcome}");
    assert!(!message.is_empty() && message.len() <= 300, "{what}");
    assert!(!outcome.stderr.contains("panicked"), "{what}: {outcome}");
    let size = outcome.stdout.len();
    assert!(size <= OUTPUT_BYTES, "{what}: {size} bytes");
}

/// JSON that is one value in another, 100,000 times.
fn nested(open: &str, close: &str) -> String {
    const DEPTH: usize = 100_000;
    format!("{}7{}", open.repeat(DEPTH), close.repeat(DEPTH))
}

#[test]
fn rubbish_on_standard_input_is_refused_by_every_verb() {
    let node = Node::new("stdin");
    let pod = node.pod("default", "a").create();
    let conf = node.configuration().to_string();
    let inputs: [(&str, Vec<u8>); 12] = [
        ("nothing", Vec::new()),
        ("null", b"null".to_vec()),
        ("a list", b"[]".to_vec()),
        ("bytes", (0..=255).cycle().take(100_000).collect()),
        ("zeros", vec![0; 1 << 20]),
        ("half", conf.as_bytes()[..conf.len() / 2].to_vec()),
        ("twice", conf.repeat(2).into_bytes()),
        ("nested lists", nested("[", "]").into_bytes()),
        ("nested objects", nested("{\"a\":", "}").into_bytes()),
        (
            "nested in a key",
            conf.replacen('{', &format!("{{\"x\":{},", nested("[", "]")), 1)
                .into_bytes(),
        ),
        ("a version of another kind", b"{\"cniVersion\":7}".to_vec()),
        ("an unknown version", b"{\"cniVersion\":\"9.9.9\"}".to_vec()),
    ];
    for (what, input) in inputs {
        for verb in ["ADD", "DEL", "CHECK", "STATUS", "GC"] {
            let outcome = node.call(verb).pod(&pod).stdin(input.clone()).run();
            assert_refused(&outcome, &format!("{verb} with {what}"));
        }
    }
    node.assert_clean();
}

#[test]
fn keys_of_another_kind_are_refused() {
    let node = Node::new("keys");
    let pod = node.pod("default", "a").create();
    for patch in [
        json!({ "delegates": [null] }),
        json!({ "delegates": [7] }),
        json!({ "delegates": {} }),
        json!({ "delegates": [{ "type": 7 }] }),
        json!({ "delegates": [{ "plugins": null }] }),
        json!({ "delegates": [{ "type": "../bridge", "name": "x" }] }),
        json!({ "stateDir": 7 }),
        json!({ "runtimeConfig": [] }),
        json!({ "maxParallelDelegates": -1 }),
        json!({ "delegateTimeoutSeconds": 1e300 }),
        json!({ "clusterNetwork": "../../etc/passwd", "delegates": null }),
    ] {
        let outcome = node.call("ADD").pod(&pod).conf(patch.clone()).run();
        assert_refused(&outcome, &patch.to_string());
        node.assert_clean();
    }
}

#[test]
fn a_broken_network_is_refused_before_anything_runs() {
    let node = Node::new("nad");
    let default = node.recording("default", json!({ "link": true }));
    let node = node.conf(json!({ "delegates": [default] }));
    let pod = node.pod("default", "a").networks("broken").create();
    let texts = [
        "null".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        "7".to_owned(),
        "\"x\"".to_owned(),
        "{".to_owned(),
        "\u{1}\u{7f}".to_owned(),
        r#"{"type":null}"#.to_owned(),
        r#"{"type":""}"#.to_owned(),
        r#"{"type":"/bin/sh"}"#.to_owned(),
        r#"{"plugins":[]}"#.to_owned(),
        r#"{"plugins":[null]}"#.to_owned(),
        r#"{"plugins":{}}"#.to_owned(),
        r#"{"type":"bridge","cniVersion":"9.9.9"}"#.to_owned(),
        nested("[", "]"),
        nested("{\"a\":", "}"),
        format!(r#"{{"type":"bridge","x":{}}}"#, nested("[", "]")),
    ];
    for text in texts {
        node.nad("default", "broken", Value::String(text.clone()));
        let what: String = text.chars().take(60).collect();
        assert_refused(&node.add(&pod), &what);
        node.del(&pod).ok();
        node.assert_clean();
    }
    assert!(node.calls().is_empty(), "{:#?}", node.calls());
}

#[test]
fn a_broken_annotation_is_refused_before_anything_runs() {
    let node = Node::new("annotation");
    let default = node.recording("default", json!({ "link": true }));
    let node = node.conf(json!({ "delegates": [default] }));
    let mebibyte = |unit: &str| unit.repeat((1 << 20) / unit.len());
    let texts = [
        ("nested lists", nested("[", "]")),
        ("nested objects", nested("{\"a\":", "}")),
        (
            "a field that is nested",
            format!(r#"[{{"name":"x","cni-args":{}}}]"#, nested("{\"a\":", "}")),
        ),
        ("1 MiB of names", mebibyte("no-such-network,") + "end"),
        ("1 MiB of commas", mebibyte(",")),
        ("1 MiB in one name", mebibyte("a")),
        ("1 MiB of rubbish", mebibyte("{\"\u{1}ÿ")),
        (
            "1 MiB of elements",
            format!("[{}{{\"name\":\"x\"}}]", mebibyte("{\"name\":\"x\"},")),
        ),
        ("null", "[null]".to_owned()),
        ("an object", "{}".to_owned()),
        ("a name of another kind", r#"[{"name":7}]"#.to_owned()),
        ("an element without a name", "[{}]".to_owned()),
    ];
    for (index, (what, text)) in texts.iter().enumerate() {
        let pod = node
            .pod("default", &format!("a{index}"))
            .networks(text)
            .create();
        assert_refused(&node.add(&pod), what);
        node.del(&pod).ok();
        node.assert_clean();
        node.remove_pod(&pod);
    }
    assert!(node.calls().is_empty(), "{:#?}", node.calls());
}

#[test]
fn a_large_configuration_that_is_right_is_served() {
    let node = Node::new("large");
    let filler = "x".repeat(3 << 20);
    let conf = node.recording("red", json!({ "filler": filler, "link": true }));
    let node = node.conf(json!({ "delegates": [conf] }));
    let pod = node.pod("default", "a").create();
    node.add(&pod).ok();
    node.del(&pod).ok();
    node.assert_clean();
}
