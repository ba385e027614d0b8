//! What changes as a whole.

use serde_json::json;

use super::super::network::tests::nad;
use super::*;

fn input(nads: Vec<NadSeen>) -> Input {
    Input {
        objects: Objects {
            nads,
            ..Objects::default()
        },
        prefix: "wb-".to_owned(),
        ..Input::default()
    }
}

fn whereabouts(range: &str) -> Value {
    json!({"type": "whereabouts", "range": range})
}

#[test]
fn a_network_names_its_pool_and_fewer_families_where_the_pool_has_more() {
    let pair = json!({"type": "whereabouts", "range": "10.1.0.0/24", "ipRanges": [{"range": "fd00:1::/64"}]});
    let plan = Plan::make(&input(vec![
        nad("both", &json!({"type": "macvlan", "ipam": pair})),
        nad(
            "four",
            &json!({"type": "macvlan", "ipam": whereabouts("10.1.0.0/24")}),
        ),
        nad(
            "six",
            &json!({"type": "macvlan", "ipam": whereabouts("fd00:1::/64")}),
        ),
        nad(
            "alone",
            &json!({"type": "macvlan", "ipam": whereabouts("10.2.0.0/24")}),
        ),
    ]));
    let after: Vec<_> = plan
        .networks
        .iter()
        .map(|change| change.after.as_str())
        .collect();
    assert_eq!(
        after,
        [
            r#"{"type":"macvlan","ipam":{"type":"meta-ipam","pool":"wb-10.1.0.0-24"}}"#,
            r#"{"type":"macvlan","ipam":{"type":"meta-ipam","pool":"wb-10.1.0.0-24","families":"V4"}}"#,
            r#"{"type":"macvlan","ipam":{"type":"meta-ipam","pool":"wb-10.1.0.0-24","families":"V6"}}"#,
            r#"{"type":"macvlan","ipam":{"type":"meta-ipam","pool":"wb-10.2.0.0-24"}}"#,
        ]
    );
    assert_eq!((plan.pools.len(), plan.not_carried_over.len()), (2, 0));
    assert!(plan.networks.iter().all(|change| !change.is_done));
}

#[test]
fn a_second_plan_after_the_networks_were_rewritten_is_the_same() {
    let before = nad(
        "a",
        &json!({"type": "macvlan", "ipam": whereabouts("10.1.0.0/24")}),
    );
    let first = Plan::make(&input(vec![before.clone()]));
    let rewritten = NadSeen {
        before: Some(before.config),
        config: first.networks[0].after.clone(),
        ..before
    };
    let mut again = input(vec![rewritten]);
    again.existing = vec![first.pools[0].pool.clone()];
    let second = Plan::make(&again);
    assert!(second.pools[0].exists && second.networks[0].is_done);
    assert_eq!(second.pools[0].pool.name, first.pools[0].pool.name);
}

#[test]
fn what_the_closed_policy_refuses_is_named_as_it_is_afterwards() {
    let plan = Plan::make(&input(vec![
        nad(
            "allowed",
            &json!({"type": "macvlan", "ipam": whereabouts("10.1.0.0/24")}),
        ),
        nad(
            "tuned",
            &json!({"plugins": [{"type": "macvlan", "ipam": whereabouts("10.1.0.0/24")}, {"type": "tuning"}]}),
        ),
        nad("other", &json!({"type": "host-device", "device": "eth1"})),
    ]));
    let what: Vec<_> = plan
        .refused_by_policy
        .iter()
        .map(|one| one.what.as_str())
        .collect();
    assert_eq!(
        what,
        [
            "NetworkAttachmentDefinition ns/tuned",
            "NetworkAttachmentDefinition ns/other"
        ]
    );
    assert!(
        plan.refused_by_policy
            .iter()
            .all(|one| !one.remedy.is_empty())
    );
    // Until then it is refused as well: it leases by whereabouts.
    let [note] = &plan.notes[..] else {
        panic!("{:?}", plan.notes);
    };
    assert_eq!(
        note,
        "\"attachmentPolicy\": \"enforce\" refuses new pods with network ns/allowed until the networks are rewritten; \
         install meta-cni with \"report\", and set \"enforce\" afterwards"
    );
}

#[test]
fn what_is_not_carried_over_is_listed_and_the_rest_is_planned() {
    let plan = Plan::make(&input(vec![
        nad("broken", &json!("{")),
        nad("file", &json!("")),
        nad(
            "static",
            &json!({"type": "macvlan", "ipam": {"type": "static"}}),
        ),
        nad(
            "good",
            &json!({"type": "macvlan", "ipam": whereabouts("10.1.0.0/24")}),
        ),
    ]));
    assert_eq!(plan.networks.len(), 1);
    let [obstacle] = &plan.not_carried_over[..] else {
        panic!("{:?}", plan.not_carried_over);
    };
    assert!(
        obstacle
            .line()
            .starts_with("NetworkAttachmentDefinition ns/broken: ")
    );
    assert!(
        plan.notes[0].starts_with("ns/file has no spec.config"),
        "{:?}",
        plan.notes
    );
}
