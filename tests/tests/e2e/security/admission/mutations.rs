//! The shipped policies with one part less each: an expression, an element of a rule, a condition, a part of a binding. The list is
//! made from the manifests, so that a new part is tried without a word here.

use serde_json::{Value, json};

use super::changes::{CHANGES, Change};

pub(super) const SHIPPED: &str = include_str!("../../../../../deploy/admission.yaml");

/// What the policy does without the part.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    /// A refused change passes.
    Passes,
    /// An allowed change is refused.
    Refuses,
    /// One of both: the part is an account of a condition.
    Either,
}

/// A copy of a policy and its binding for one namespace, and the same with one part less.
pub(super) struct Mutation {
    pub(super) what: String,
    pub(super) namespace: String,
    /// The name of the copy.
    pub(super) policy: String,
    shipped_policy: String,
    pub(super) shipped: [Value; 2],
    /// A binding without a spec is one that is deleted.
    pub(super) mutated: [Value; 2],
    pub(super) effect: Effect,
}

impl Mutation {
    /// The changes that the shipped policy refuses.
    pub(super) fn refused(&self) -> impl Iterator<Item = &'static Change> {
        CHANGES
            .iter()
            .filter(|change| change.refused_by == Some(&self.shipped_policy))
    }
}

/// The objects of the manifest, in its order.
pub(super) fn shipped() -> Vec<Value> {
    process::yaml::documents(SHIPPED)
        .into_iter()
        .map(|document| document.expect("YAML"))
        .collect()
}

/// Every mutation of every policy.
pub(super) fn mutations() -> Vec<Mutation> {
    let objects = shipped();
    let mut all = Vec::new();
    for pair in objects.chunks(2) {
        let [policy, binding] = pair else {
            panic!("a policy without a binding: {pair:?}");
        };
        let (policy, binding) = (policy.clone(), binding.clone());
        let mut changed: Vec<(String, Effect, Value, Value)> = Vec::new();
        for (what, effect, mutated) in of_policy(&policy) {
            changed.push((what, effect, mutated, binding.clone()));
        }
        for (what, mutated) in of_binding(&binding) {
            changed.push((what, Effect::Passes, policy.clone(), mutated));
        }
        for (what, effect, mutated_policy, mutated_binding) in changed {
            let namespace = format!("m{}", all.len());
            let shipped_policy = policy["metadata"]["name"].as_str().expect("a name");
            let name = format!("{shipped_policy}-{namespace}");
            let copy = |policy: &Value, binding: &Value| copies(&name, &namespace, policy, binding);
            all.push(Mutation {
                what: format!("{shipped_policy}: {what}"),
                shipped: copy(&policy, &binding),
                mutated: copy(&mutated_policy, &mutated_binding),
                shipped_policy: shipped_policy.to_owned(),
                policy: name.clone(),
                namespace: namespace.clone(),
                effect,
            });
        }
    }
    all
}

/// A policy and its binding under another name and for one namespace.
fn copies(name: &str, namespace: &str, policy: &Value, binding: &Value) -> [Value; 2] {
    let (mut policy, mut binding) = (policy.clone(), binding.clone());
    let shipped = policy["metadata"]["name"].clone();
    policy["metadata"]["name"] = json!(name);
    binding["metadata"]["name"] = json!(name);
    if let Some(spec) = binding.get_mut("spec") {
        if spec["policyName"] == shipped {
            spec["policyName"] = json!(name);
        }
        spec["matchResources"] = json!({
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
        });
    }
    [policy, binding]
}

fn of_policy(policy: &Value) -> Vec<(String, Effect, Value)> {
    let list = |pointer: &str| policy.pointer(pointer).and_then(Value::as_array);
    let rules = "/spec/matchConstraints/resourceRules";
    let mut mutations = Vec::new();
    let mut add = |what: String, effect, pointer: &str, value: Value| {
        let mut mutated = policy.clone();
        *mutated.pointer_mut(pointer).expect("the part exists") = value;
        mutations.push((what, effect, mutated));
    };
    for index in 0..list(rules).expect("rules").len() {
        for key in ["apiGroups", "apiVersions", "operations", "resources"] {
            let pointer = format!("{rules}/{index}/{key}");
            let values = list(&pointer).expect("a rule has all four keys");
            for value in values {
                let mut rest = values.clone();
                rest.retain(|other| other != value);
                if rest.is_empty() {
                    rest.push(json!("none"));
                }
                let what = format!("rule {index} without {key} {value}");
                add(what, Effect::Passes, &pointer, json!(rest));
            }
        }
    }
    let conditions = "/spec/matchConditions";
    for (index, condition) in list(conditions).into_iter().flatten().enumerate() {
        let pointer = format!("{conditions}/{index}/expression");
        let text = condition["expression"].as_str().expect("an expression");
        let what = format!("condition {index}");
        add(
            format!("{what} never"),
            Effect::Passes,
            &pointer,
            json!("false"),
        );
        add(
            format!("{what} always"),
            Effect::Refuses,
            &pointer,
            json!("true"),
        );
        for account in text.split('\'').skip(1).step_by(2) {
            let without = text.replace(&format!("'{account}'"), "'nobody'");
            let what = format!("{what} without {account}");
            add(what, Effect::Either, &pointer, json!(without));
        }
    }
    let validations = "/spec/validations";
    for index in 0..list(validations).expect("validations").len() {
        let pointer = format!("{validations}/{index}/expression");
        let what = format!("expression {index}");
        add(what, Effect::Passes, &pointer, json!("true"));
    }
    mutations
}

fn of_binding(binding: &Value) -> Vec<(String, Value)> {
    let mut deleted = binding.clone();
    deleted.as_object_mut().expect("an object").remove("spec");
    let with = |key: &str, value: Value| {
        let mut mutated = binding.clone();
        mutated["spec"][key] = value;
        mutated
    };
    vec![
        ("binding deleted".to_owned(), deleted),
        (
            "binding of another policy".to_owned(),
            with("policyName", json!("absent")),
        ),
        (
            "binding that warns".to_owned(),
            with("validationActions", json!(["Warn"])),
        ),
        (
            "binding that audits".to_owned(),
            with("validationActions", json!(["Audit"])),
        ),
    ]
}
