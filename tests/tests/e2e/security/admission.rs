//! `deploy/admission.yaml` before a real API server: the accounts of meta-cni change one annotation of the pods of their own
//! node, even with every right to pods. Each expression, rule, condition and binding is needed: without it, a refused request
//! passes.

mod changes;
mod mutations;
mod scene;

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::kube::{AGENT, User};
use e2e::{ApiServer, wait_until};
use serde_json::{Value, json};

use changes::{CHANGES, image};
use mutations::{Effect, Mutation, mutations};
use scene::Scene;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn each_change_is_allowed_or_refused_and_each_part_of_a_policy_is_needed() {
    let scene = Scene::new();
    let mutations = mutations();
    // Each part has a namespace of its own with a copy of its policy, so that the API server reads all of them at the same time.
    for mutation in &mutations {
        scene.prepare(&mutation.namespace);
        scene.put(&mutation.shipped);
    }
    for mutation in &mutations {
        refuses_as_shipped(&scene, mutation);
    }
    for mutation in &mutations {
        scene.put(&mutation.mutated);
    }
    for mutation in &mutations {
        let what = format!("an effect of {}", mutation.what);
        wait_until(&what, PATIENCE, || {
            has_effect(&scene, mutation).then_some(())
        });
    }
    scene.prepare("admission");
    scene.api.apply(mutations::SHIPPED);
    for change in &CHANGES {
        match change.refused_by {
            // A policy holds some time after it was made.
            Some(policy) => wait_until(change.what, PATIENCE, || {
                scene.is_refused("admission", change, policy).then_some(())
            }),
            None => {
                let (status, message) = scene.change("admission", change);
                assert_eq!(status, 200, "{}: {message}", change.what);
            }
        }
    }
}

/// Waits until the copy of a policy holds in its namespace, and asserts that it refuses what the policy must refuse.
fn refuses_as_shipped(scene: &Scene, mutation: &Mutation) {
    let mut refused = mutation.refused();
    let first = refused.next().expect("each policy refuses a change");
    wait_until(first.what, PATIENCE, || {
        scene
            .is_refused(&mutation.namespace, first, &mutation.policy)
            .then_some(())
    });
    for change in refused {
        assert!(
            scene.is_refused(&mutation.namespace, change, &mutation.policy),
            "{} passes under the whole {}",
            change.what,
            mutation.policy
        );
    }
}

/// Whether the policy does something else than the shipped one.
fn has_effect(scene: &Scene, mutation: &Mutation) -> bool {
    let namespace = &mutation.namespace;
    let passes = || {
        mutation
            .refused()
            .any(|change| scene.change(namespace, change).0 == 200)
    };
    let refuses = || {
        let mut allowed = CHANGES.iter().filter(|change| change.refused_by.is_none());
        allowed.any(|change| scene.is_refused(namespace, change, &mutation.policy))
    };
    match mutation.effect {
        Effect::Passes => passes(),
        Effect::Refuses => refuses(),
        Effect::Either => passes() || refuses(),
    }
}

#[test]
fn each_policy_fails_closed_and_is_bound_once() {
    let objects = mutations::shipped();
    let of_kind = |kind: &str| -> Vec<&Value> {
        objects
            .iter()
            .filter(|object| object["kind"] == kind)
            .collect()
    };
    let policies = of_kind("ValidatingAdmissionPolicy");
    let bindings = of_kind("ValidatingAdmissionPolicyBinding");
    assert_eq!((policies.len(), bindings.len()), (3, 3));
    for (policy, binding) in policies.iter().zip(&bindings) {
        assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{policy}");
        assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
        assert_eq!(
            binding["spec"].as_object().map(serde_json::Map::len),
            Some(2),
            "a binding that matches everything: {binding}"
        );
    }
}

#[test]
fn without_more_rights_an_account_is_refused_by_rbac_already() {
    let api = ApiServer::shared();
    let agent = User::of(&api.kubeconfig_on("n1", AGENT.0, AGENT.1));
    api.agent_kubeconfig();
    api.create_pod("admission-rbac", "own", &BTreeMap::new(), "n1");
    let path = "/api/v1/namespaces/admission-rbac/pods/own";
    assert_eq!(agent.patch(path, &image(1)).0, 403);
    assert_eq!(
        agent
            .patch(&format!("{path}/ephemeralcontainers"), &json!({}))
            .0,
        403
    );
    assert_eq!(agent.post(&format!("{path}/binding"), &json!({})).0, 403);
    assert_eq!(
        agent.get("/api/v1/namespaces/admission-rbac/secrets").0,
        403
    );
}
