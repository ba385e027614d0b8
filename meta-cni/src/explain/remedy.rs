//! What to do about a failed operation: what its error said, else by the plugin that failed, else by its CNI code, as the table in
//! docs/src/errors.md has it.

use std::collections::BTreeSet;

use cni::error::Code;

use crate::delegates::DELEGATE_FAILED;
use crate::journal::Operation;
use crate::trace::{Step, words};

/// The remedy, if there is one.
pub(super) fn of(operation: &Operation) -> Option<String> {
    let code = operation.code?;
    let known = operation.remedy.clone();
    if let Some(remedy) = known.or_else(|| of_plugin(operation)) {
        return Some(remedy);
    }
    let remedy = match code {
        Code::INCOMPATIBLE_VERSION => "set a cniVersion from 0.1.0 to 1.1.0",
        Code::UNKNOWN_CONTAINER => return None,
        Code::INVALID_ENVIRONMENT | Code::INVALID_NETNS => {
            "check the container runtime, which calls meta-cni: its log has the call"
        }
        Code::IO_FAILURE => "see that stateDir is writable and has room",
        Code::DECODING_FAILURE => "correct the JSON where the message says",
        Code::INVALID_NETWORK_CONFIG => {
            "correct the network, or the pod's annotation, that the message names"
        }
        Code::TRY_AGAIN_LATER | Code::PLUGIN_NOT_AVAILABLE | Code::LIMITED_CONNECTIVITY => {
            "the runtime tries again by itself; if it stays, run meta-cni doctor"
        }
        DELEGATE_FAILED => "install the plugin that the message names",
        Code(101) => "ask for an address that is in the pool",
        Code(102 | 103) => "ask for another address; `ipamctl whohas` names its holder",
        Code(105) => "delete the sandbox first, or end the lease with `ipamctl lease release`",
        _ => "run meta-cni doctor; if it finds nothing, report it",
    };
    Some(remedy.to_owned())
}

/// The interface that a plugin was to use and did not find, which its message does not name.
pub(super) fn missing_link(operation: &Operation) -> Option<&str> {
    text(failed_delegate(operation)?, words::MISSING_LINK)
}

fn text<'s>(step: &'s Step, field: &str) -> Option<&'s str> {
    step.fields.get(field)?.as_str()
}

/// If it was a plugin that failed: what its message says is not written by us, and its code may be its own.
fn of_plugin(operation: &Operation) -> Option<String> {
    let failed = failed_delegate(operation)?;
    let plugin = text(failed, words::PLUGIN)?;
    Some(match text(failed, words::RESULT)? {
        "not_found" | "not_started" => format!("install plugin {plugin} in binDir"),
        "timed_out" => format!("see why {plugin} hangs, or raise delegateTimeoutSeconds"),
        "too_much_output" | "pipe" => format!("run {plugin} by hand with what it was given"),
        _ => format!("correct what {plugin} names in its message; the step has what it was given"),
    })
}

/// The plugin by which it failed. One that only could not be undone is not why an ADD failed.
fn failed_delegate(operation: &Operation) -> Option<&Step> {
    let mut undoing = BTreeSet::new();
    operation.steps.iter().find(|step| {
        // A step comes behind the one around it.
        let is_undoing = step.parent.is_some_and(|parent| undoing.contains(&parent));
        if is_undoing || step.name == words::UNDO {
            undoing.insert(step.id);
        }
        !is_undoing && step.name == words::DELEGATE && step.error.is_some()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn operation(code: u32, error: &str, steps: Value) -> Operation {
        let value = json!({"command": "ADD", "code": code, "error": error, "steps": steps});
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_remedy_is_of_the_plugin_that_failed_else_of_the_code() {
        let bridge = |result: &str| json!([{"name": "delegate", "error": "x", "fields": {"plugin": "bridge", "result": result}}]);
        let not_undone = json!([
            {"name": "undo", "id": "0000000000000001"},
            {"name": "attachment", "id": "0000000000000002", "parent": "0000000000000001"},
            {"name": "delegate", "id": "0000000000000003", "parent": "0000000000000002", "error": "x",
                "fields": {"plugin": "bridge", "result": "failed"}},
        ]);
        let fine = json!([{"name": "delegate", "fields": {"plugin": "bridge"}}]);
        for (name, operation, word) in [
            (
                "the plugin is not there",
                operation(100, "x", bridge("not_found")),
                Some("install plugin bridge"),
            ),
            (
                "it hangs",
                operation(11, "x", bridge("timed_out")),
                Some("delegateTimeoutSeconds"),
            ),
            (
                "it refuses with a code of ours",
                operation(5, "no; room", bridge("failed")),
                Some("bridge names"),
            ),
            (
                "another step failed",
                operation(5, "x", fine),
                Some("stateDir"),
            ),
            (
                "the plugin could not be undone",
                operation(11, "x", not_undone),
                Some("tries again by itself"),
            ),
            (
                "its error says it",
                Operation {
                    remedy: Some("make room".to_owned()),
                    ..operation(5, "x; y", bridge("failed"))
                },
                Some("make room"),
            ),
            (
                "its error does not say it",
                operation(5, "x; y", json!([])),
                Some("stateDir"),
            ),
            ("nothing to be done", operation(3, "x", json!([])), None),
        ] {
            let remedy = of(&operation);
            match word {
                Some(word) => assert!(
                    remedy.as_ref().is_some_and(|text| text.contains(word)),
                    "{name}: {remedy:?}"
                ),
                None => assert_eq!(remedy, None, "{name}"),
            }
        }
        assert_eq!(of(&Operation::default()), None);
    }

    #[test]
    fn an_interface_that_a_plugin_did_not_find_is_named() {
        let fields = json!({"plugin": "macvlan", "missing_link": "master eth7"});
        let step = json!({"name": "delegate", "error": "Link not found", "fields": fields});
        let operation = operation(999, "Link not found", json!([step]));
        assert_eq!(missing_link(&operation), Some("master eth7"));
    }
}
