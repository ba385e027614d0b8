//! What holds for every plan.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn interfaces() -> impl Strategy<Value = Option<String>> {
    option::weighted(
        0.5,
        prop_oneof![
            4 => "net[0-5]",
            2 => "[a-d]",
            1 => prop_oneof![Just("eth0"), Just("lo"), Just(""), Just("a/b")].prop_map(str::to_owned),
            1 => ".{0,17}",
        ],
    )
}

fn gateways() -> impl Strategy<Value = Option<Vec<IpAddr>>> {
    option::weighted(0.3, vec(any::<IpAddr>(), 0..3))
}

/// A value where a plan expects an object, or anything else.
fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!([])),
        Just(json!("text")),
        Just(json!({})),
        Just(json!({"cni": {"a": 1}})),
        Just(json!({"cni": null})),
        Just(json!({"mac": "old"})),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let network = (
        interfaces(),
        gateways(),
        option::of(values()),
        option::of(values()),
        prop_oneof![9 => Just(true), 1 => Just(false)],
    );
    vec(network, 0..6).prop_map(|networks| {
        let mut asked = Asked::new();
        for (index, (interface, gateways, args, runtime, is_found)) in
            networks.into_iter().enumerate()
        {
            let mut conf = json!({"type": "bridge", "capabilities": {"mac": true}});
            for (field, value) in [("args", args), ("runtimeConfig", runtime)] {
                if let Some(value) = value {
                    conf[field] = value;
                }
            }
            let fields = json!({"cni-args": {"a": 2}, "mac": "02:00:00:00:00:09"});
            asked = asked.and_of(&format!("shop/n{index}"), fields, conf);
            let element = &mut asked.wanted[index + 1].element;
            element.interface = interface;
            element.default_route = gateways;
            if !is_found {
                asked.found[index + 1] = Err(Problem::transient("network", "no answer"));
            }
        }
        asked
    })
}

/// The names that the networks are to have, right or wrong.
fn intended(asked: &Asked) -> Vec<String> {
    let name = |(index, wanted): (usize, &Wanted)| match &wanted.element.interface {
        _ if index == 0 => "eth0".to_owned(),
        Some(name) => name.clone(),
        None => format!("net{index}"),
    };
    asked.wanted.iter().enumerate().map(name).collect()
}

proptest! {
    #[test]
    fn a_plan_has_every_network_once_under_a_name_of_its_own(asked in asked()) {
        let Ok(attachments) = asked.plan() else { return Ok(()) };
        let names: Vec<_> = attachments.iter().map(|one| one.ifname.clone()).collect();
        prop_assert_eq!(&names, &intended(&asked));
        let unique: BTreeSet<_> = names.iter().collect();
        prop_assert_eq!(unique.len(), names.len());
        for name in &names {
            prop_assert_eq!(interface_name_problem(name), None);
            prop_assert_ne!(name, "lo");
        }
        for is_of in [IpAddr::is_ipv4 as fn(&IpAddr) -> bool, IpAddr::is_ipv6] {
            let asking = attachments
                .iter()
                .filter(|one| one.default_route.iter().flatten().any(is_of));
            prop_assert!(asking.count() <= 1);
        }
    }

    #[test]
    fn names_that_are_good_and_different_are_never_refused(asked in asked()) {
        let names = intended(&asked);
        let unique: BTreeSet<_> = names.iter().collect();
        let good = unique.len() == names.len()
            && names.iter().all(|name| name != "lo" && interface_name_problem(name).is_none());
        let refused = match asked.plan() {
            Ok(_) => false,
            Err(Problems(problems)) => problems.iter().any(|one| one.what.cause.starts_with("interface ")),
        };
        prop_assert_eq!(refused, !good);
    }

    #[test]
    fn a_plan_says_the_same_when_it_is_made_again(asked in asked()) {
        prop_assert_eq!(asked.plan(), asked.plan());
    }
}
