//! Which namespaces a policy is for (Kubernetes, "Labels and Selectors").

use std::collections::BTreeMap;

use crds::attachment_policy::{NamespaceSelector, Operator, Requirement};
use serde::Deserialize;

/// What a policy's `spec` says about its namespaces; the rest is left to `rules`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selecting {
    namespace_selector: NamespaceSelector,
}

/// Whether a policy with this `spec` is for a namespace with these labels. One whose selector cannot be read is for all:
/// what it meant to keep closed does not open.
pub fn selects(spec: &str, labels: &BTreeMap<String, String>) -> bool {
    let Ok(Selecting {
        namespace_selector: selector,
    }) = serde_json::from_str(spec)
    else {
        return true;
    };
    let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    selector.match_labels.iter().all(has)
        && selector
            .match_expressions
            .iter()
            .all(|one| is_met(one, labels))
}

fn is_met(requirement: &Requirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let is_one = value.is_some_and(|value| requirement.values.contains(value));
    match requirement.operator {
        Operator::In => is_one,
        Operator::NotIn => !is_one,
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_namespace_is_selected_by_all_requirements_together() {
        let labels = [("team", "a"), ("tier", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let labels = BTreeMap::from(labels);
        let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (selector, expected) in [
            (json!({}), true),
            (json!({"matchLabels": {"team": "a"}}), true),
            (json!({"matchLabels": {"team": "b"}}), false),
            (json!({"matchLabels": {"team": "a", "absent": ""}}), false),
            (json!({"matchLabels": {"tier": ""}}), true),
            (expression("team", "In", json!(["b", "a"])), true),
            (expression("absent", "In", json!(["a"])), false),
            (expression("team", "NotIn", json!(["a"])), false),
            (expression("absent", "NotIn", json!(["a"])), true),
            (expression("tier", "Exists", json!([])), true),
            (expression("absent", "Exists", json!([])), false),
            (expression("team", "DoesNotExist", json!([])), false),
            (expression("absent", "DoesNotExist", json!([])), true),
            (expression("team", "Resembles", json!(["z"])), true),
            (json!(null), true),
        ] {
            let spec = json!({"namespaceSelector": selector}).to_string();
            assert_eq!(selects(&spec, &labels), expected, "{spec}");
        }
    }
}
