//! DEL of a whole sandbox, and what its record keeps for the next one.

use super::*;

#[test]
fn del_asks_the_others_first_and_the_default_network_at_the_end() {
    let exec = RecordingExec::new(made);
    let runner = Runner {
        exec: &exec,
        parallel: 4,
    };
    let mut record = added(&["eth0", "net1", "net2"]);
    runner.detach(&mut record, "").unwrap();
    assert_eq!(record.attachments, []);
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
fn del_of_what_was_begun_only_has_no_result_to_give() {
    let exec = RecordingExec::new(made);
    let runner = Runner {
        exec: &exec,
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
        let exec = RecordingExec::new(|call: &Call| match call.ifname.as_str() {
            "net1" | "net3" | "eth0" => fails(call),
            _ => made(call),
        });
        let runner = Runner {
            exec: &exec,
            parallel,
        };
        let mut record = added(&["eth0", "net1", "net2", "net3"]);
        let errors = runner.detach(&mut record, "/run/netns/pod").unwrap_err();
        assert_eq!(exec.calls().len(), 4);
        assert_eq!(ifnames(&errors), ["eth0", "net1", "net3"]);
        assert_eq!(
            phases(&record),
            [
                ("eth0", Phase::Deleting),
                ("net1", Phase::Deleting),
                ("net3", Phase::Deleting),
            ]
        );
        let kept = record.attachments.iter();
        for entry in kept {
            assert_eq!(entry.result, Some(result(&entry.attachment.ifname)));
        }
        let exec = RecordingExec::new(made);
        let runner = Runner {
            exec: &exec,
            parallel,
        };
        runner.detach(&mut record, "/run/netns/pod").unwrap();
        assert_eq!(exec.calls().len(), 3, "the next time only these are tried");
        assert_eq!(record.attachments, []);
    }
}

#[test]
fn every_failed_plugin_of_a_network_is_told() {
    let mut record = record(&["eth0"]);
    let conf =
        json!({"cniVersion": "1.0.0", "name": "lan", "plugins": [{"type": "a"}, {"type": "b"}]});
    record.attachments[0].attachment.list = NetConfList::from_value(conf).unwrap();
    let exec = RecordingExec::new(fails);
    let runner = Runner {
        exec: &exec,
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
