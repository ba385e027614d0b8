//! Faults of the records of sandboxes, and of the network-status of pods.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{Fault, fault, warning};
use crate::doctor::scene::{Scene, attached};

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "record unreadable",
        &["is not a record that can be read"],
        unreadable,
    ),
    fault(
        "record of a newer version",
        &["has format 99", "this program knows"],
        newer,
    ),
    warning(
        "record set aside",
        &["an unreadable record was set aside by DEL"],
        set_aside,
    ),
    warning(
        "record of a vanished namespace",
        &["the network namespace of pod default/web is gone and its record is not"],
        vanished,
    ),
    warning(
        "ADD never finished",
        &["the ADD of pod default/web was begun and never finished"],
        unfinished,
    ),
    warning(
        "DEL that is tried again",
        &[
            "the DEL of pod default/web failed",
            "recording-plugin DEL: busy",
        ],
        retried,
    ),
    warning(
        "late address",
        &[
            "pod default/web has addresses on net1 of network default/blue that network-status does not show: fd00:5::9/64",
        ],
        late_address,
    ),
    warning(
        "late default route",
        &[
            "pod default/web has learned an IPv6 default route via fe80::1 on net1 of network default/blue",
        ],
        late_default_route,
    ),
    warning(
        "network-status is not true",
        &["pod default/web has a network-status that does not say which interfaces it has"],
        untrue_status,
    ),
];

/// A node with an attached pod whose record was changed.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Scene {
    let scene = Scene::new(name);
    let pod = attached(&scene.node, "web", "");
    let path = scene.node.record_file(&pod);
    let text = fs::read_to_string(&path).expect("read a record");
    let mut record: Value = serde_json::from_str(&text).expect("a record is JSON");
    change(&mut record);
    fs::write(&path, record.to_string()).expect("write a record");
    scene
}

fn unreadable() -> Scene {
    let scene = Scene::new("unreadable");
    let pod = attached(&scene.node, "web", "");
    fs::write(scene.node.record_file(&pod), "{\"format\":1,").expect("write a record");
    scene
}

fn newer() -> Scene {
    changed("newer", |record| record["format"] = json!(99))
}

fn set_aside() -> Scene {
    let scene = Scene::new("aside");
    let pod = attached(&scene.node, "web", "");
    let aside = scene.node.record_file(&pod).with_extension("unreadable-1");
    fs::rename(scene.node.record_file(&pod), aside).expect("rename a record");
    scene
}

fn vanished() -> Scene {
    let scene = Scene::new("vanished");
    let pod = attached(&scene.node, "web", "");
    pod.netns().remove();
    scene
}

fn retried() -> Scene {
    let scene = Scene::new("retried");
    let busy = json!({ "failOn": { "DEL": { "code": 42, "msg": "busy" } } });
    let blue = scene.node.recording("blue", busy);
    scene.node.nad("default", "blue", blue);
    let pod = attached(&scene.node, "web", "blue");
    scene.node.del(&pod).error();
    scene
}

/// A pod whose secondary interface came to more than ADD gave it.
fn learned(name: &str, what: &str) -> Scene {
    let scene = Scene::new(name);
    let blue = scene.node.side_bridge("br-blue", &["10.2.0.0/24"]);
    scene.node.nad("default", "blue", blue);
    let pod = attached(&scene.node, "web", "blue");
    pod.netns().sh(what);
    scene
}

fn late_address() -> Scene {
    learned("late", "ip address add fd00:5::9/64 dev net1 nodad")
}

fn late_default_route() -> Scene {
    learned(
        "learned",
        "ip -6 route add default via fe80::1 dev net1 proto ra metric 512",
    )
}

fn unfinished() -> Scene {
    let scene = changed("unfinished", |record| {
        record["attachments"][0]["phase"] = json!("planned");
        record["networkStatus"] = Value::Null;
    });
    let folder = scene.node.state_dir().join("attachments");
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    for entry in fs::read_dir(folder).expect("list the records") {
        let file = File::options()
            .write(true)
            .open(entry.expect("a record").path());
        file.and_then(|file| file.set_modified(hour_ago))
            .expect("set a time");
    }
    scene
}

fn untrue_status() -> Scene {
    let scene = Scene::new("untrue");
    let pod = attached(&scene.node, "web", "");
    let path = scene.node.status_file(&pod);
    let reported = fs::read_to_string(&path).expect("read network-status");
    fs::write(&path, reported.replace("10.1.0.", "10.9.0.")).expect("write network-status");
    scene
}
