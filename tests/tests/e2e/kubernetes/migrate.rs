//! `meta-cni migrate`: pods that a real Multus and a real whereabouts made keep their addresses, which nobody else gets, and are deleted
//! clean by meta-cni; and back.

mod scene;

use std::collections::BTreeSet;

use e2e::Pod;
use scene::Scene;

/// The pods that Multus makes: enough that an address of one is another's next one.
const PODS: usize = 4;

/// The numbers at the end of the report: pools, leases, noted networks, rewritten networks.
fn done(report: &serde_json::Value) -> [u64; 4] {
    let done = &report["done"];
    ["pools", "leases", "noted", "networks"].map(|key| done[key].as_u64().expect("a number"))
}

#[test]
fn running_pods_keep_their_addresses_and_all_ends_clean_and_back() {
    let mut scene = Scene::new("migrated");
    let old: Vec<Pod> = (0..PODS)
        .map(|number| scene.pod(&format!("old-{number}")))
        .collect();
    for pod in &old {
        scene.site.multus("ADD", pod).ok();
    }
    let held: BTreeSet<String> = old.iter().flat_map(Scene::addresses).collect();
    assert_eq!(held.len(), PODS * 3, "two of pair and one of lone a pod");
    scene.add_entry_of_a_pod_that_is_gone();

    let plan = scene.migrate(&[]);
    let kept = scene.not_carried_over(&plan);
    assert_eq!(kept, ["pod gone/gone does not exist any more"]);
    let refused: Vec<_> = scene.refused_by_policy(&plan);
    assert_eq!(refused.len(), 1, "the chain of lone: {refused:?}");
    assert_eq!(scene.held(), BTreeSet::new(), "nothing is changed");

    // Pools, leases, networks noted on this node.
    let first = scene.migrate(&["--apply"]);
    assert_eq!(done(&first), [2, (PODS * 2) as u64, 2, 0]);
    assert_eq!(
        scene.held(),
        held,
        "each address of a running pod is leased"
    );
    let second = scene.migrate(&["--apply"]);
    assert_eq!(done(&second), [0, 0, 0, 0], "a second run changes nothing");

    // Multus goes on meanwhile: what whereabouts allocates until the networks are rewritten is carried over with them.
    let late = scene.pod("late");
    scene.site.multus("ADD", &late).ok();
    let before = scene.configs();
    let rewritten = scene.migrate(&["--apply", "--rewrite-networks"]);
    assert_eq!(done(&rewritten), [0, 2, 0, 2]);
    let held: BTreeSet<String> = held.into_iter().chain(Scene::addresses(&late)).collect();
    assert_eq!(scene.held(), held);
    assert!(
        scene
            .configs()
            .iter()
            .all(|config| config.contains("meta-ipam"))
    );
    let again = scene.migrate(&["--apply", "--rewrite-networks"]);
    assert_eq!(done(&again), [0, 0, 0, 0]);

    scene.site.remove_multus();
    let new: Vec<Pod> = (0..PODS)
        .map(|number| scene.pod(&format!("new-{number}")))
        .collect();
    for pod in &new {
        scene.site.ours("ADD", pod).ok();
        let addresses = Scene::addresses(pod);
        assert_eq!(addresses.len(), 3);
        assert!(
            addresses.is_disjoint(&held),
            "{addresses:?} are of a living pod"
        );
    }
    let again = scene.migrate(&["--apply"]);
    assert_eq!(done(&again), [0, 0, 0, 0], "what they lease is known");
    let refused = scene.migrate_fails(&["--back", "--apply"]);
    assert!(
        refused.contains("leases were made since the migration"),
        "{refused}"
    );

    // Pods of both are deleted by meta-cni, and their addresses are free at once, here and at whereabouts.
    for pod in new.iter().chain(&old[..2]).chain([&late]) {
        scene.site.ours("DEL", pod).ok();
        scene.delete(pod);
    }
    let left: BTreeSet<String> = old[2..].iter().flat_map(Scene::addresses).collect();
    assert_eq!(scene.held(), left);
    assert_eq!(
        scene.allocated(),
        left.len(),
        "whereabouts has the others only"
    );

    scene.migrate(&["--back"]);
    assert_eq!(scene.held(), left, "nothing is changed");
    scene.migrate(&["--back", "--apply"]);
    assert_eq!(scene.held(), BTreeSet::new());
    assert_eq!(scene.pools(), 0);
    assert_eq!(scene.configs(), before);
    for pod in &old[2..] {
        scene.site.ours("DEL", pod).ok();
        scene.delete(pod);
    }
    assert_eq!(scene.allocated(), 0);
    scene.site.node.assert_clean();
}
