//! DEL of a whole sandbox, and what its record keeps for the next one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn del_asks_the_others_first_and_the_default_network_at_the_end() {
    let exec = Recording::new(made);
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 4,
    };
    let mut record = added(&["eth0", "net1", "net2"]);
    runner.detach(&mut record, "").unwrap();
    assert_eq!(phases(&record), []);
    let calls = exec.calls();
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[2].ifname, "eth0");
    for call in calls {
        assert_eq!(call.netns, "", "the namespace may be gone");
        let expected = result(&call.ifname).to_value(Version::V1_0_0).unwrap();
        assert_eq!(call.stdin["prevResult"], expected, "its own result");
    }
}

#[test]
fn interfaces_are_removed_together_but_for_those_on_which_others_may_stand() {
    let record = added(&["eth0", "net1", "net2", "net3"]);
    let levels = [vec![3], vec![2, 1], vec![0]];
    let removed = |others: &[&str]| {
        removed_alone(&record, &levels, |entry| {
            !others.contains(&entry.attachment.ifname.as_str())
        })
    };
    assert_eq!(removed(&[]), ["net3", "net2", "net1", "eth0"]);
    assert_eq!(removed(&["net1"]), ["net3", "net2"]);
    assert_eq!(removed(&["net3"]), [""; 0]);
}

#[test]
fn del_of_what_was_begun_only_has_no_result_to_give() {
    let exec = Recording::new(made);
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 1,
    };
    let mut record = record(&["eth0", "net1"]);
    runner.detach(&mut record, "/run/netns/pod").unwrap();
    assert_eq!(exec.calls().len(), 2);
    for call in exec.calls() {
        assert_eq!(call.stdin.get("prevResult"), None);
    }
}

#[test]
fn del_tries_all_and_keeps_those_that_failed_for_the_next_time() {
    for parallel in [1, 2, 8] {
        let exec = Recording::new(|call: &Called| match call.ifname.as_str() {
            "net1" | "net3" | "eth0" => fails(call),
            _ => made(call),
        });
        let runner = Runner {
            plugins: &exec,
            limit: limit(),
            parallel,
        };
        let mut record = added(&["eth0", "net1", "net2", "net3"]);
        let errors = runner.detach(&mut record, "/run/netns/pod").unwrap_err();
        assert_eq!(exec.calls().len(), 4 + 3, "each failure is tried once more");
        assert_eq!(ifnames(&errors), ["eth0", "net1", "net3"]);
        assert_eq!(
            phases(&record),
            [
                ("eth0", Phase::Deleting),
                ("net1", Phase::Deleting),
                ("net3", Phase::Deleting),
            ]
        );
        let kept = record.left();
        for entry in kept {
            assert_eq!(entry.result, Some(result(&entry.attachment.ifname)));
        }
        let exec = Recording::new(made);
        let runner = Runner {
            plugins: &exec,
            limit: limit(),
            parallel,
        };
        runner.detach(&mut record, "/run/netns/pod").unwrap();
        assert_eq!(exec.calls().len(), 3, "the next time only these are tried");
        assert_eq!(phases(&record), []);
    }
}

#[test]
fn every_failed_plugin_of_a_network_is_reported() {
    let mut record = record(&["eth0"]);
    let conf =
        json!({"cniVersion": "1.0.0", "name": "lan", "plugins": [{"type": "a"}, {"type": "b"}]});
    record.attachments[0].attachment.list = NetConfList::from_value(conf).unwrap();
    let exec = Recording::new(fails);
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 1,
    };
    let errors = runner.detach(&mut record, "").unwrap_err();
    let texts: Vec<_> = errors.iter().map(|error| with_causes(error)).collect();
    assert_eq!(
        texts,
        [
            "network shop/eth0 (eth0): b DEL: eth0 is broken",
            "network shop/eth0 (eth0): a DEL: eth0 is broken",
        ]
    );
    assert_eq!(record.attachments.len(), 1);
}

#[test]
fn what_failed_is_tried_once_more_one_after_the_other_before_the_answer() {
    let first = Mutex::new(BTreeSet::new());
    let exec = Recording::new(|call: &Called| match call.ifname.as_str() {
        "net1" | "eth0" if first.lock().unwrap().insert(call.ifname.clone()) => fails(call),
        _ => made(call),
    });
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 1,
    };
    let mut record = added(&["eth0", "net1", "net2"]);
    runner.detach(&mut record, "/run/netns/pod").unwrap();
    assert_eq!(phases(&record), []);
    assert_eq!(
        exec.briefs(),
        [
            "DEL plugin-net2 net2",
            "DEL plugin-net1 net1",
            "DEL plugin-eth0 eth0",
            "DEL plugin-net1 net1",
            "DEL plugin-eth0 eth0",
        ]
    );
}

#[test]
fn a_plugin_that_is_missing_or_was_waited_for_is_not_tried_again_at_once() {
    let missing = |call: &Called| PluginError::NotFound {
        plugin: call.plugin.clone(),
        searched: Vec::new(),
        not_executable: None,
    };
    let slow = |call: &Called| PluginError::TimedOut {
        plugin: call.plugin.clone(),
        limit: Duration::from_secs(60),
        log: String::new(),
    };
    for error in [&missing as &(dyn Fn(&Called) -> PluginError + Sync), &slow] {
        let exec = Recording::new(|call: &Called| Err(error(call)));
        let runner = Runner {
            plugins: &exec,
            limit: limit(),
            parallel: 1,
        };
        runner.detach(&mut added(&["eth0"]), "").unwrap_err();
        assert_eq!(exec.calls().len(), 1);
    }
}

#[test]
fn plugins_that_are_done_are_not_asked_again() {
    let mut record = added(&["eth0", "net1"]);
    let conf = json!({"cniVersion": "1.0.0", "name": "lan", "plugins": [
        {"type": "a"}, {"type": "b"}, {"type": "c"},
    ]});
    record.attachments[1].attachment.list = NetConfList::from_value(conf).unwrap();
    let exec = Recording::new(|call: &Called| match call.plugin.as_str() {
        "b" => fails(call),
        _ => made(call),
    });
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 1,
    };
    let errors = runner.detach(&mut record, "").unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(record.attachments[1].deleted, [0, 2]);
    let asked = [
        "DEL c net1",
        "DEL b net1",
        "DEL a net1",
        "DEL plugin-eth0 eth0",
        "DEL b net1",
    ];
    assert_eq!(exec.briefs(), asked);
    runner.detach(&mut record, "").unwrap_err();
    assert_eq!(exec.briefs()[asked.len()..], ["DEL b net1"; 2]);
}

#[test]
fn the_record_says_whose_first_plugin_refused() {
    let silent = |call: &Called| PluginError::FailedSilently {
        plugin: call.plugin.clone(),
        end: "was killed by signal 9".to_owned(),
        output: String::new(),
        log: String::new(),
    };
    let cases = [("a", true, true), ("b", true, false), ("a", false, false)];
    for (plugin, says_no, refused) in cases {
        let exec = Recording::new(|call: &Called| match call.plugin == plugin {
            true if says_no => fails(call),
            true => Err(silent(call)),
            false => made(call),
        });
        let mut record = record(&["eth0"]);
        let conf = json!({"cniVersion": "1.0.0", "name": "lan", "plugins": [{"type": "a"}, {"type": "b"}]});
        record.attachments[0].attachment.list = NetConfList::from_value(conf).unwrap();
        let runner = Runner {
            plugins: &exec,
            limit: limit(),
            parallel: 1,
        };
        runner.attach(&mut record, || ()).unwrap_err();
        assert_eq!(
            record.attachments[0].refused, refused,
            "{plugin}, {says_no}"
        );
    }
}

#[test]
fn a_del_begins_with_what_the_last_ones_had_no_time_for() {
    // There is time for so many plugins, and each of them hangs.
    for (time, expected) in [
        (1, ["net3", "net2", "net1", "eth0", "net3"]),
        (
            2,
            [
                "net3 net2",
                "net1 eth0",
                "net3 net2",
                "net1 eth0",
                "net3 net2",
            ],
        ),
    ] {
        let mut record = added(&["eth0", "net1", "net2", "net3"]);
        let rounds = expected.map(|_| {
            let executed = AtomicUsize::new(0);
            let exec = Recording::new(|call: &Called| {
                let plugin = call.plugin.clone();
                Err(match executed.fetch_add(1, Ordering::Relaxed) < time {
                    true => PluginError::TimedOut {
                        plugin,
                        limit: Duration::from_secs(1),
                        log: String::new(),
                    },
                    false => PluginError::NoTimeLeft { plugin },
                })
            });
            let runner = Runner {
                plugins: &exec,
                limit: limit(),
                parallel: 1,
            };
            runner.detach(&mut record, "").unwrap_err();
            let calls = exec.calls();
            let reached: Vec<&str> = calls[..time].iter().map(|call| &*call.ifname).collect();
            reached.join(" ")
        });
        assert_eq!(rounds, expected);
    }
}

#[test]
fn what_was_never_begun_or_is_deleted_is_in_no_file_and_no_plugin_is_asked_for_it() {
    let exec = Recording::new(|call: &Called| match (call.command, call.ifname.as_str()) {
        ("ADD", "net1") | ("DEL", "eth0") => fails(call),
        _ => made(call),
    });
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 1,
    };
    let in_file = |record: &Record| -> Vec<String> {
        let file = serde_json::to_value(record).unwrap();
        let file: Record = serde_json::from_value(file).unwrap();
        let ifnames = file.attachments().map(|one| one.ifname.clone());
        ifnames.collect()
    };
    let mut record = record(&["eth0", "net1", "net2"]);
    runner.attach(&mut record, || ()).unwrap_err();
    let gone = |record: &Record| -> Vec<String> {
        let gone = record.gone().map(|entry| entry.attachment.ifname.clone());
        gone.collect()
    };
    assert_eq!(gone(&record), ["net2"]);
    assert_eq!(in_file(&record), ["eth0", "net1"]);
    runner.detach(&mut record, "/run/netns/pod").unwrap_err();
    assert!(exec.calls().iter().all(|call| call.ifname != "net2"));
    assert_eq!(gone(&record), ["net1", "net2"], "their leases are released");
    assert_eq!(in_file(&record), ["eth0"]);
}
