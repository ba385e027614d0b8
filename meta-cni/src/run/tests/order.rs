//! Which attachments wait for which.

use super::*;

/// `eth0`, `net1` and `net2`, a bond `net3` over both, `net4`, and a macvlan `net5` over the bond.
fn standing_on_one_another() -> Record {
    let mut record = record(&["eth0", "net1", "net2", "net3", "net4", "net5"]);
    let bond = json!([{"name": "net1"}, {"name": "net2"}]);
    for (index, keys) in [
        (3, vec![("linksInContainer", json!(true)), ("links", bond)]),
        (
            5,
            vec![("linkInContainer", json!(true)), ("master", json!("net3"))],
        ),
    ] {
        let plugin = &mut record.attachments[index].attachment.list.plugins[0];
        keys.into_iter()
            .for_each(|(key, value)| plugin.set(key, value));
    }
    record
}

/// Asserts that the call of each pair came to its end before the other began.
fn assert_apart(ended: &[String], verb: &str, pairs: &[(&str, &str)]) {
    let place = |ifname: &str| {
        let mut all = ended.iter();
        all.position(|one| *one == format!("{verb} {ifname}"))
            .unwrap_or_else(|| panic!("{verb} {ifname} in {ended:?}"))
    };
    for (before, after) in pairs {
        assert!(place(before) < place(after), "{before}, {after}: {ended:?}");
    }
}

#[test]
fn what_stands_on_others_is_made_behind_them_and_deleted_before_them() {
    let below = [
        ("eth0", "net1"),
        ("net1", "net3"),
        ("net2", "net3"),
        ("net3", "net5"),
        ("eth0", "net4"),
    ];
    let above = below.map(|(below, above)| (above, below));
    let log = Mutex::new(Vec::new());
    let busy = Busy::default();
    let exec = Recording::new(|call: &Called| {
        if ["net1", "net2", "net4"].contains(&call.ifname.as_str()) && call.command == "ADD" {
            busy.begin();
            busy.wait_for(3);
            busy.end();
        }
        let answer = made(call);
        log.lock()
            .unwrap()
            .push(format!("{} {}", call.command, call.ifname));
        answer
    });
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 4,
    };
    let mut record = standing_on_one_another();
    runner.attach(&mut record, || {}).unwrap();
    runner.detach(&mut record, "/run/netns/pod").unwrap();
    assert_eq!(busy.most(), 3, "independent ones are made side by side");
    assert_apart(&log.lock().unwrap(), "ADD", &below);
    assert_apart(&log.lock().unwrap(), "DEL", &above);
}

#[test]
fn what_stands_on_one_that_failed_is_not_begun() {
    let exec = Recording::new(|call: &Called| match call.ifname.as_str() {
        "net2" => fails(call),
        _ => made(call),
    });
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 4,
    };
    let mut record = standing_on_one_another();
    let error = runner.attach(&mut record, || {}).unwrap_err();
    assert_eq!(error.ifname, "net2");
    assert!(exec.calls().iter().all(|call| call.ifname != "net3"));
    assert!(record.left().all(|one| one.attachment.ifname != "net3"));
}

#[test]
fn with_a_limit_of_one_everything_is_in_order() {
    let exec = Recording::new(made);
    let runner = Runner {
        plugins: &exec,
        limit: limit(),
        parallel: 1,
    };
    let mut record = record(&["eth0", "net1", "net2"]);
    record.attachments[2].attachment.check_by_plugins = true;
    runner.attach(&mut record, || ()).unwrap();
    runner.check(&record, "/run/netns/pod").unwrap();
    runner.detach(&mut record, "/run/netns/pod").unwrap();
    assert_eq!(
        exec.briefs(),
        [
            "ADD plugin-eth0 eth0",
            "ADD plugin-net1 net1",
            "ADD plugin-net2 net2",
            "CHECK plugin-eth0 eth0",
            "CHECK plugin-net2 net2",
            "DEL plugin-net2 net2",
            "DEL plugin-net1 net1",
            "DEL plugin-eth0 eth0",
        ]
    );
}
