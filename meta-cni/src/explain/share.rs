//! An operation as far as it is about one sandbox: GC may have deleted many, each with an outcome of its own.

use std::collections::BTreeMap;

use crate::cluster::PodRef;
use crate::journal::Operation;
use crate::trace::{SpanId, Step, words};

/// The operation itself if it was about one container; of GC, what it did with each that it deleted.
pub(super) fn of_each(mut operation: Operation) -> Vec<Operation> {
    if !operation.container_id.is_empty() {
        return vec![operation];
    }
    let steps = std::mem::take(&mut operation.steps);
    let mut shares: Vec<Operation> = Vec::new();
    let mut owners: BTreeMap<SpanId, usize> = BTreeMap::new();
    for step in steps {
        // A step comes behind the one around it.
        let around = step.parent.and_then(|parent| owners.get(&parent).copied());
        let owner = around.or_else(|| {
            shares.push(share(&operation, &step)?);
            Some(shares.len() - 1)
        });
        if let Some(owner) = owner {
            owners.insert(step.id, owner);
            if let Some(share) = shares.get_mut(owner) {
                share.steps.push(step);
            }
        }
    }
    shares
}

/// What is known of it by the step `sandbox`, if it is one.
fn share(operation: &Operation, step: &Step) -> Option<Operation> {
    if step.name != words::SANDBOX {
        return None;
    }
    let text = |field| step.fields.get(field).and_then(|value| value.as_str());
    Some(Operation {
        time: operation.time,
        command: operation.command.clone(),
        container_id: text(words::CONTAINER_ID)?.to_owned(),
        pod: text("pod").and_then(pod),
        micros: step.micros,
        code: operation.code.filter(|_| step.error.is_some()),
        error: step.error.clone(),
        remedy: step.remedy.clone(),
        traceparent: operation.traceparent,
        ..Operation::default()
    })
}

/// The pod that is written as NAMESPACE/NAME.
fn pod(text: &str) -> Option<PodRef> {
    let (namespace, name) = text.split_once('/')?;
    Some(PodRef {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_large_gc_is_shared_out_and_not_repeated_for_each_of_its_sandboxes() {
        let id = |number: usize| format!("{number:016x}");
        let steps: Vec<_> = (0..1000)
            .map(|number| match number % 10 {
                0 => json!({"name": "sandbox", "id": id(number + 1), "fields": {"container_id": id(number)}}),
                below => json!({"name": "delegate", "id": id(number + 1), "parent": id(number - below + 1)}),
            })
            .collect();
        let gc = json!({"command": "GC", "steps": steps});
        let shares = of_each(serde_json::from_value(gc).unwrap());
        assert_eq!(shares.len(), 100);
        for share in &shares {
            assert_eq!(share.steps.len(), 10, "{}", share.container_id);
        }
    }
}
