//! Records on a real file system: what is written reads back, and each kind of damage has its error.

mod broken;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use cni::netconf::NetConfList;
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::device::Device;
use crate::gather::Found;

const LIMIT: Duration = Duration::from_secs(120);

/// Records in a folder of their own.
struct Folder {
    dir: TempDir,
    records: Records,
}

impl Folder {
    fn new() -> Folder {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path());
        records.make_folders().unwrap();
        Folder { dir, records }
    }

    fn sandbox(&self, container_id: &str) -> Sandbox<'_> {
        self.records.lock(container_id, LIMIT).unwrap()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join("attachments").join(file)
    }

    fn write(&self, container_id: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(&format!("{container_id}.json")), text).unwrap();
    }

    /// All files, with the folders that they are in.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for folder in ["attachments", "locks"] {
            for entry in fs::read_dir(self.dir.path().join(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                files.push(format!("{folder}/{name}"));
            }
        }
        files.sort();
        files
    }
}

fn attachment(network: &str, ifname: &str) -> Attachment {
    let conf = json!({"cniVersion": "0.3.1", "name": "lan", "plugins": [
        {"type": "bridge", "ipam": {"ranges": [[{"subnet": "10.0.0.0/24"}]]}, "n": 1.5, "x": null},
        {"type": "tuning"},
    ]});
    Attachment {
        network: network.to_owned(),
        ifname: ifname.to_owned(),
        args: "IgnoreUnknown=1;K8S_POD_NAME=web".to_owned(),
        list: Found::of(NetConfList::from_value(conf).unwrap())
            .unwrap()
            .list,
        check_by_plugins: false,
        default_route: None,
        device: None,
        device_info_file: None,
    }
}

/// A sandbox with one attachment in each phase.
fn record(container_id: &str) -> Record {
    let mut blue = attachment("shop/blue", "net1");
    blue.default_route = Some(vec![
        "10.0.0.1".parse().unwrap(),
        "fd00::1".parse().unwrap(),
    ]);
    blue.device = Some(Device {
        resource: Some("intel.com/vf".to_owned()),
        id: "0000:03:02.1".to_owned(),
    });
    blue.device_info_file = Some("/run/devinfo/cni/blue".into());
    let pod = PodRef {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        uid: Some("u1".to_owned()),
    };
    let attachments = vec![
        attachment("calico", "eth0"),
        blue,
        attachment("shop/green", "net2"),
    ];
    let mut record = Record::planned(container_id, "/run/netns/pod", Some(pod), attachments);
    let result = json!({
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1400, "sandbox": "/run/netns/pod"}],
        "ips": [{"address": "10.0.0.9/24", "gateway": "10.0.0.1", "interface": 0}, {"address": "fd00::9/64"}],
        "routes": [{"dst": "0.0.0.0/0", "priority": 5}],
        "dns": {"nameservers": ["10.0.0.53"]},
    });
    record.attachments[0].phase = Phase::Added;
    record.attachments[0].result = Some(CniResult::from_value(&result, Version::LATEST).unwrap());
    record.attachments[1].refused = true;
    record.attachments[2].phase = Phase::Deleting;
    record.attachments[2].deleted = vec![1];
    record
}

#[test]
fn what_is_written_reads_back() {
    let folder = Folder::new();
    let record = record("c1");
    for save in [Sandbox::save_durably, Sandbox::save] {
        let sandbox = folder.sandbox("c1");
        save(&sandbox, &record).unwrap();
        assert_eq!(sandbox.load().unwrap().as_ref(), Some(&record));
        assert_eq!(folder.records.peek("c1").unwrap().as_ref(), Some(&record));
        sandbox.forget().unwrap();
        assert_eq!(folder.records.peek("c1").unwrap(), None);
    }
}

#[test]
fn the_last_one_written_is_the_one_that_is_read() {
    let folder = Folder::new();
    let sandbox = folder.sandbox("c1");
    let mut record = record("c1");
    sandbox.save_durably(&record).unwrap();
    record.attachments.truncate(1);
    sandbox.save(&record).unwrap();
    assert_eq!(sandbox.load().unwrap(), Some(record));
}

#[test]
fn a_sandbox_without_a_lock_reads_and_writes_as_well() {
    let folder = Folder::new();
    let sandbox = folder.records.without_lock("c1");
    assert_eq!(sandbox.load().unwrap(), None);
    sandbox.save_durably(&record("c1")).unwrap();
    assert_eq!(sandbox.load().unwrap(), Some(record("c1")));
    sandbox.forget().unwrap();
    assert_eq!(folder.files(), [""; 0]);
}

#[test]
fn a_record_as_format_1_has_it_is_read() {
    let folder = Folder::new();
    folder.write(
        "c1",
        r#"{"format": 1, "containerId": "c1", "netns": "/run/netns/pod", "path": "/opt/cni/bin",
            "pod": {"namespace": "shop", "name": "web"}, "laterField": 1,
            "attachments": [
              {"phase": "added",
               "attachment": {"network": "calico", "ifname": "eth0", "args": "",
                 "list": {"name": "calico", "version": "1.0.0", "plugins": [{"type": "calico"}]}},
               "result": {"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.9/24"}]}},
              {"phase": "planned",
               "attachment": {"network": "shop/blue", "ifname": "net1", "args": "", "default_route": [],
                 "list": {"name": "blue", "version": "0.4.0", "disable_check": true,
                   "plugins": [{"type": "bridge"}]}}},
              {"phase": "deleting",
               "attachment": {"network": "shop/vf", "ifname": "net2", "args": "", "device": {"id": "d1"},
                 "device_info_file": "/f",
                 "list": {"name": "vf", "version": "1.1.0", "disable_gc": true,
                   "plugins": [{"type": "sriov"}]}}}]}"#,
    );
    let record = folder.records.peek("c1").unwrap().unwrap();
    assert_eq!(record.format, FORMAT, "it is written anew as the newest");
    let phases: Vec<_> = record.attachments.iter().map(|entry| entry.phase).collect();
    assert_eq!(phases, [Phase::Added, Phase::Planned, Phase::Deleting]);
    let address = record.attachments[0].result.as_ref().unwrap().ips[0].address;
    assert_eq!(address.to_string(), "10.0.0.9/24");
    let blue = &record.attachments[1].attachment;
    assert!(blue.list.disable_check && blue.default_route == Some(Vec::new()));
    let vf = &record.attachments[2].attachment;
    assert!(vf.list.disable_gc);
    assert_eq!(
        vf.device.as_ref().map(|device| device.id.as_str()),
        Some("d1")
    );
    assert!(!record.is_complete());
}

#[test]
fn forgetting_leaves_nothing_and_twice_is_fine() {
    let folder = Folder::new();
    let sandbox = folder.sandbox("c1");
    sandbox.save_durably(&record("c1")).unwrap();
    fs::write(folder.path(".c1.json.tmp"), "half").unwrap();
    folder.sandbox("c2").save_durably(&record("c2")).unwrap();
    assert_eq!(
        folder.files(),
        [
            "attachments/.c1.json.tmp",
            "attachments/c1.json",
            "attachments/c2.json",
            "locks/c1",
            "locks/c2"
        ]
    );
    sandbox.forget().unwrap();
    assert_eq!(folder.files(), ["attachments/c2.json", "locks/c2"]);
    folder.sandbox("c1").forget().unwrap();
    assert_eq!(folder.files(), ["attachments/c2.json", "locks/c2"]);
}

#[test]
fn containers_are_those_that_have_a_record() {
    let folder = Folder::new();
    for id in ["b", "a", "a.json", "x-1_y"] {
        folder.sandbox(id).save_durably(&record(id)).unwrap();
    }
    for other in [".c.json.tmp", ".c.json", "d.unreadable-1", ".probe-1", "e"] {
        fs::write(folder.path(other), "x").unwrap();
    }
    let ids = folder.records.container_ids().unwrap();
    assert_eq!(ids, ["a", "a.json", "b", "x-1_y"]);
}

#[test]
fn nothing_was_ever_recorded_means_no_containers() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::new(&dir.path().join("never/made"));
    assert_eq!(records.container_ids().unwrap(), [""; 0]);
    assert_eq!(records.peek("c1").unwrap(), None);
}

#[test]
fn only_the_owner_can_read() {
    let folder = Folder::new();
    let sandbox = folder.sandbox("c1");
    sandbox.save_durably(&record("c1")).unwrap();
    let mode = |path: &str| {
        let metadata = fs::metadata(folder.dir.path().join(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("attachments"), 0o700);
    assert_eq!(mode("locks"), 0o700);
    assert_eq!(mode("attachments/c1.json"), 0o600);
    assert_eq!(mode("locks/c1"), 0o600);
}

#[test]
fn a_failed_write_leaves_the_earlier_record_and_says_what_to_do() {
    let folder = Folder::new();
    let sandbox = folder.sandbox("c1");
    sandbox.save_durably(&record("c1")).unwrap();
    let mut changed = record("c1");
    changed.attachments.clear();
    for save in [Sandbox::save_durably, Sandbox::save] {
        // A device that is always full: its writes fail with ENOSPC (full(4)).
        symlink("/dev/full", folder.path(".c1.json.tmp")).unwrap();
        let error = save(&sandbox, &changed).unwrap_err();
        let text = error.diagnosis().to_string();
        let line = format!(
            "writing {}: No space left on device (os error 28); make stateDir writable and see that its file system has room",
            folder.path("c1.json").display()
        );
        assert_eq!(text, line);
        assert_eq!(sandbox.load().unwrap(), Some(record("c1")));
        assert_eq!(folder.files(), ["attachments/c1.json", "locks/c1"]);
    }
    sandbox.save_durably(&changed).unwrap();
    assert_eq!(sandbox.load().unwrap(), Some(changed));
}

#[test]
fn a_folder_that_nobody_can_write_to_is_named_with_the_remedy() {
    // Not even root makes folders there.
    let records = Records::new(Path::new("/sys/kernel"));
    let remedy = "make stateDir writable and see that its file system has room";
    for error in [records.make_folders(), records.check_writable()] {
        let found = error.unwrap_err().diagnosis();
        assert!(
            found.cause.starts_with("writing /sys/kernel/attachments: "),
            "{found}"
        );
        assert_eq!(found.remedy.as_deref(), Some(remedy));
    }
    let found = records.lock("c1", LIMIT).unwrap_err().diagnosis();
    assert!(found.cause.starts_with("locking /sys/kernel/locks/c1: "));
    assert_eq!(found.remedy.as_deref(), Some(remedy));
    let sandbox = records.without_lock("c1");
    let found = sandbox.save_durably(&record("c1")).unwrap_err().diagnosis();
    let what = "writing /sys/kernel/attachments/c1.json: ";
    assert!(found.cause.starts_with(what), "{found}");
    assert_eq!(found.remedy.as_deref(), Some(remedy));
}

#[test]
fn a_check_for_writing_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::new(dir.path());
    records.check_writable().unwrap();
    records.check_writable().unwrap();
    let left = fs::read_dir(dir.path().join("attachments"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

#[test]
fn a_sandbox_is_complete_when_every_attachment_was_added() {
    let mut record = record("c1");
    assert!(!record.is_complete());
    for entry in &mut record.attachments {
        entry.phase = Phase::Added;
    }
    assert!(record.is_complete());
}

proptest! {
    #[test]
    fn whatever_the_texts_are_they_read_back(
        netns in ".*", args in ".*", network in ".*", value in ".*"
    ) {
        let folder = Folder::new();
        let mut record = record("c1");
        record.netns = netns;
        let attachment = &mut record.attachments[0].attachment;
        (attachment.args, attachment.network) = (args, network);
        attachment.list.plugins[0].set("extra", json!({"value": value}));
        let sandbox = folder.sandbox("c1");
        sandbox.save(&record).unwrap();
        prop_assert_eq!(sandbox.load().unwrap(), Some(record));
    }

    #[test]
    fn no_file_makes_reading_panic(bytes in any::<Vec<u8>>()) {
        let folder = Folder::new();
        folder.write("c1", bytes);
        prop_assert!(folder.records.peek("c1").is_err());
    }
}
