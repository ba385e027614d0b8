//! The order in which a sandbox's networks are worked on, and what its record says after failures.

mod detach;
mod order;

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use cni::error::with_causes;
use cni::netconf::NetConfList;
use cni::plugins::{PluginError, TimeLimit};
use cni::result::CniResult;
use cni::version::Version;
use serde_json::json;

use super::*;
use crate::attachment::Attachment;
use crate::delegates::recording::{Called, Recording, failed};

/// A record of networks that are called after their interfaces; each has one plugin, `plugin-IFNAME`.
fn record(ifnames: &[&str]) -> Record {
    let attachment = |ifname: &&str| {
        let conf =
            json!({"cniVersion": "1.0.0", "name": ifname, "type": format!("plugin-{ifname}")});
        Attachment {
            network: format!("shop/{ifname}"),
            ifname: (*ifname).to_owned(),
            args: format!("IFNAME={ifname}"),
            list: NetConfList::from_value(conf).unwrap(),
            check_by_plugins: false,
            default_route: None,
            device: None,
            device_info_file: None,
        }
    };
    let attachments = ifnames.iter().map(attachment).collect();
    Record::planned("c1", "/run/netns/pod", None, attachments)
}

/// A record of networks that were all made.
fn added(ifnames: &[&str]) -> Record {
    let mut record = record(ifnames);
    for entry in &mut record.attachments {
        entry.phase = Phase::Added;
        entry.result = Some(result(&entry.attachment.ifname));
    }
    record
}

/// A result that names its interface.
/// Calls that are recorded take no time.
fn limit() -> TimeLimit {
    TimeLimit::per_call(Duration::from_secs(60))
}

fn result(ifname: &str) -> CniResult {
    let value = json!({"interfaces": [{"name": ifname, "sandbox": "/run/netns/pod"}]});
    CniResult::from_value(&value, Version::LATEST).unwrap()
}

/// What a plugin that made its interface prints.
fn made(call: &Called) -> Result<Vec<u8>, PluginError> {
    let value = result(&call.ifname).to_value(Version::V1_0_0).unwrap();
    Ok(value.to_string().into_bytes())
}

fn fails(call: &Called) -> Result<Vec<u8>, PluginError> {
    Err(failed(
        &call.plugin,
        7,
        &format!("{} is broken", call.ifname),
    ))
}

/// Each entry's interface and phase.
fn phases(record: &Record) -> Vec<(&str, Phase)> {
    let entries = record.left();
    entries
        .map(|entry| (entry.attachment.ifname.as_str(), entry.phase))
        .collect()
}

fn ifnames<'a>(errors: impl IntoIterator<Item = &'a RunError>) -> Vec<&'a str> {
    errors
        .into_iter()
        .map(|error| error.ifname.as_str())
        .collect()
}

/// How many are at work at once, now and at most.
#[derive(Default)]
struct Busy {
    now_and_most: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Busy {
    fn begin(&self) {
        let mut counts = self.now_and_most.lock().unwrap();
        counts.0 += 1;
        counts.1 = counts.1.max(counts.0);
        self.changed.notify_all();
    }

    /// Waits until so many have been at work at once.
    fn wait_for(&self, many: usize) {
        let counts = self.now_and_most.lock().unwrap();
        let limit = Duration::from_secs(60);
        let (_counts, timeout) = self
            .changed
            .wait_timeout_while(counts, limit, |counts| counts.1 < many)
            .unwrap();
        assert!(!timeout.timed_out(), "never {many} at once");
    }

    fn end(&self) {
        self.now_and_most.lock().unwrap().0 -= 1;
    }

    fn most(&self) -> usize {
        self.now_and_most.lock().unwrap().1
    }
}

#[test]
fn add_notes_every_result() {
    let exec = Recording::new(made);
    let mut record = record(&["eth0", "net1", "net2"]);
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 4,
    };
    runner.attach(&mut record, || ()).unwrap();
    assert_eq!(record, added(&["eth0", "net1", "net2"]));
    assert!(record.is_complete());
    for call in exec.calls() {
        assert_eq!(call.plugin, format!("plugin-{}", call.ifname));
        assert_eq!(call.args, format!("IFNAME={}", call.ifname));
        let shown = [&call.container_id, &call.netns];
        assert_eq!(shown, ["c1", "/run/netns/pod"]);
    }
}

#[test]
fn the_default_network_is_made_before_any_other_is_begun() {
    let is_there = Mutex::new(false);
    let exec = Recording::new(|call: &Called| {
        let mut is_there = is_there.lock().unwrap();
        if call.ifname == "eth0" {
            *is_there = true;
        } else {
            assert!(*is_there, "{} came first", call.ifname);
        }
        made(call)
    });
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 4,
    };
    runner
        .attach(&mut record(&["eth0", "net1", "net2", "net3"]), || ())
        .unwrap();
    assert_eq!(exec.calls()[0].ifname, "eth0");
    assert_eq!(exec.calls().len(), 4);
}

#[test]
fn the_others_are_worked_on_side_by_side_up_to_the_limit() {
    for (verb, parallel, expected) in [("ADD", 3, 3), ("ADD", 8, 5), ("DEL", 3, 3), ("DEL", 8, 5)] {
        let busy = Busy::default();
        let exec = Recording::new(|call: &Called| {
            busy.begin();
            if call.ifname != "eth0" {
                busy.wait_for(expected);
            }
            busy.end();
            made(call)
        });
        let runner = Runner {
            plugins: &exec,
            limit: limit(),
            parallel,
        };
        let ifnames = ["eth0", "net1", "net2", "net3", "net4", "net5"];
        if verb == "ADD" {
            runner.attach(&mut record(&ifnames), || ()).unwrap();
        } else {
            runner
                .detach(&mut added(&ifnames), "/run/netns/pod")
                .unwrap();
        }
        assert_eq!(busy.most(), expected, "{verb}, {parallel} allowed");
        assert_eq!(exec.calls().len(), 6);
    }
}

#[test]
fn after_a_failure_the_record_has_what_was_begun_and_nothing_else() {
    use Phase::{Added, Planned};
    let cases: [(&str, &[_]); 4] = [
        ("eth0", &[("eth0", Planned)]),
        ("net1", &[("eth0", Added), ("net1", Planned)]),
        (
            "net2",
            &[("eth0", Added), ("net1", Added), ("net2", Planned)],
        ),
        (
            "net3",
            &[
                ("eth0", Added),
                ("net1", Added),
                ("net2", Added),
                ("net3", Planned),
            ],
        ),
    ];
    for (broken, expected) in cases {
        let exec = Recording::new(|call: &Called| {
            if call.ifname == broken {
                fails(call)
            } else {
                made(call)
            }
        });
        let runner = Runner {
            plugins: &exec,
            limit: limit(),
            parallel: 1,
        };
        let mut record = record(&["eth0", "net1", "net2", "net3"]);
        let error = runner.attach(&mut record, || ()).unwrap_err();
        assert_eq!(
            with_causes(&error),
            format!("network shop/{broken} ({broken}): plugin-{broken} ADD: {broken} is broken")
        );
        assert_eq!(phases(&record), expected);
        for entry in record.left() {
            assert_eq!(entry.result.is_some(), entry.phase == Added, "{broken}");
        }
        assert_eq!(exec.calls().len(), expected.len(), "{broken}");
    }
}

#[test]
fn of_those_that_were_begun_beside_a_failure_the_record_keeps_each_as_it_ended() {
    let busy = Busy::default();
    let exec = Recording::new(|call: &Called| {
        if call.ifname == "eth0" {
            return made(call);
        }
        busy.begin();
        busy.wait_for(3);
        match call.ifname.as_str() {
            "net2" => made(call),
            _ => fails(call),
        }
    });
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 3,
    };
    let mut record = record(&["eth0", "net1", "net2", "net3"]);
    let error = runner.attach(&mut record, || ()).unwrap_err();
    assert_eq!(error.ifname, "net1", "the first in the record's order");
    assert_eq!(
        phases(&record),
        [
            ("eth0", Phase::Added),
            ("net1", Phase::Planned),
            ("net2", Phase::Added),
            ("net3", Phase::Planned),
        ]
    );
}

#[test]
fn a_record_without_attachments_needs_nothing() {
    let exec = Recording::new(fails);
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 4,
    };
    let mut record = record(&[]);
    runner.attach(&mut record, || ()).unwrap();
    runner.check(&record, "").unwrap();
    runner.detach(&mut record, "").unwrap();
    assert_eq!(exec.calls(), []);
}

#[test]
fn check_asks_the_plugins_of_the_default_network_and_of_those_that_want_it() {
    let mut record = added(&["eth0", "net1", "net2", "net3", "net4"]);
    record.attachments[1].result = None;
    for entry in &mut record.attachments[1..4] {
        entry.attachment.check_by_plugins = true;
    }
    let exec = Recording::new(|call: &Called| match call.ifname.as_str() {
        "net2" | "net3" => fails(call),
        _ => Ok(Vec::new()),
    });
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 4,
    };
    let error = runner.check(&record, "/run/netns/pod").unwrap_err();
    assert_eq!(error.ifname, "net2");
    let mut asked = exec.calls();
    asked.sort_by(|a, b| a.ifname.cmp(&b.ifname));
    let asked: Vec<_> = asked
        .iter()
        .map(|call| {
            let expected = result(&call.ifname).to_value(Version::V1_0_0).unwrap();
            assert_eq!(call.stdin["prevResult"], expected);
            call.ifname.as_str()
        })
        .collect();
    assert_eq!(
        asked,
        ["eth0", "net2", "net3"],
        "without a result, no CHECK"
    );
}
