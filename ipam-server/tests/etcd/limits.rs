//! Groups of any size, whatever a member takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipam_core::event::{Change, Event};
use ipam_core::log::{Group, Store as _};
use ipam_core::pool::Pool;

use crate::member::{Member, append, leases, numbers, open, wait_for};

/// Labels that do not become shorter by packing.
fn labels(bytes: usize) -> Arc<BTreeMap<String, String>> {
    let mut state = 7_u64;
    let mut letters = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'a' + (state >> 40) as u8 % 26)
    });
    let labels = (0..bytes / 60).map(|n| (format!("l{n:06}"), letters.by_ref().take(50).collect()));
    Arc::new(labels.collect())
}

/// A pool with long labels.
fn pool(revision: u64, labels: Arc<BTreeMap<String, String>>) -> Group {
    let pool = Pool {
        name: "blue".into(),
        vrf: "default".into(),
        ipv4: Some(ipam_core::pool::Subnet::of("10.0.0.0/8".parse().unwrap())),
        labels: BTreeMap::clone(&labels),
        ..Pool::default()
    };
    let event = Event {
        revision,
        change: Change::pool(None, Some(pool.into())),
        ..Event::default()
    };
    Group {
        events: vec![event],
        ..Group::default()
    }
}

#[test]
fn a_group_of_any_size_is_appended_and_loaded() {
    for (limits, bytes) in [
        (&[][..], 3_000_000),
        (&["--max-txn-ops=2", "--max-request-bytes=2048"], 200_000),
        (&["--max-txn-ops=5", "--max-request-bytes=16384"], 1_000_000),
    ] {
        let member = Member::start(limits);
        let settings = member.settings();
        let store = open(&settings);
        // Both groups are above every limit: 3,000 leases by their count.
        let long = pool(1, labels(bytes));
        append(&store, &long).unwrap();
        append(&store, &leases(2, 3_001)).unwrap();
        let check = |what: &str| {
            let other = open(&settings);
            assert_eq!(other.pools().unwrap(), store.pools().unwrap(), "{what}");
            assert_eq!(numbers(&other), Vec::from_iter(2..=3_001), "{what}");
            assert_eq!(other.events(0, 1).unwrap(), long.events, "{what}");
        };
        check("from the groups");
        wait_for("the keys are written", || {
            (member.applied(&settings) == Some(2)).then_some(())
        });
        check("from the keys");
    }
}
