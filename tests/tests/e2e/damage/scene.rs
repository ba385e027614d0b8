//! Stores with leases that were acknowledged, and what has become of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use e2e::ipam::request;
use e2e::{IpamServer, locate};
use proto::ipam::v1::{AllocateRequest, BatchAllocateRequest, Lease, ReleaseRequest};

/// Leases by id.
pub(crate) type Leases = BTreeMap<String, Lease>;

/// The seed of this run, printed, so that it can be repeated.
pub(crate) fn seed(what: &str) -> u64 {
    let given = std::env::var("E2E_DAMAGE_SEED").ok();
    let seed = given.map_or_else(
        || fastrand::u64(..),
        |seed| seed.parse().expect("E2E_DAMAGE_SEED is a number"),
    );
    eprintln!("{what}: E2E_DAMAGE_SEED={seed}");
    seed
}

/// How many of so many rounds are to be run.
pub(crate) fn rounds(all: usize) -> usize {
    let percent = std::env::var("E2E_DAMAGE_ROUNDS").map_or(100, |percent| {
        percent.parse().expect("E2E_DAMAGE_ROUNDS is a number")
    });
    (all * percent).div_ceil(100)
}

/// Leases a batch of pods; each has labels of so many bytes.
pub(crate) async fn lease_batch(server: &IpamServer, prefix: &str, count: usize, fat: usize) {
    let one = |number: usize| {
        let mut request: AllocateRequest = request("blue", &format!("{prefix}-{number}"));
        // At most 64 labels of 63 bytes each.
        for label in 0..(fat / 63).min(64) {
            let (key, value) = (format!("note-{label}"), "x".repeat(63));
            request.labels.insert(key, value);
        }
        request
    };
    let batch = BatchAllocateRequest {
        requests: (0..count).map(one).collect(),
        ..BatchAllocateRequest::default()
    };
    let answer = server.lease_client().batch_allocate(batch).await;
    answer.expect("allocate");
}

/// Releases every fifth lease.
pub(crate) async fn release_some(server: &IpamServer) {
    for lease in server.leases().await.iter().step_by(5) {
        let request = ReleaseRequest {
            id: lease.id.clone(),
            ..ReleaseRequest::default()
        };
        let released = server.lease_client().release(request).await;
        released.expect("release");
    }
}

/// All leases of a server.
pub(crate) async fn leases(server: &IpamServer) -> Leases {
    let all = server.leases().await;
    all.into_iter()
        .map(|lease| (lease.id.clone(), lease))
        .collect()
}

/// Copies a store; holes stay holes.
pub(crate) fn copy(from: &Path, to: &Path) {
    let _not_there = fs::remove_dir_all(to);
    let copied = Command::new("cp")
        .args(["-r", "--sparse=always"])
        .args([from, to])
        .status();
    assert!(copied.expect("run cp").success());
}

/// The names in the folder of a store.
pub(crate) fn names(store: &Path) -> Vec<String> {
    let entries = fs::read_dir(store).expect("read the store").flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Makes of a store what the version before the journal wrote: sled's files, with the number of their schema.
pub(crate) fn make_schema_1(store: &Path) {
    let db = sled::open(store).expect("open sled's files");
    db.remove("mapplied").expect("remove a key");
    db.insert("mschema", &1_u32.to_be_bytes())
        .expect("insert a key");
    db.flush().expect("flush sled");
    drop(db);
    for name in names(store) {
        if name.starts_with("journal-") || name.starts_with("base-") {
            fs::remove_file(store.join(name)).expect("remove a file");
        }
    }
    fs::write(store.join("ipam-server.store"), []).expect("write the mark");
}

/// The files of a store with their content, but for the lock.
pub(crate) fn content(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(store).expect("read the store").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && name != "ipam-server.lock" {
            all.insert(name, fs::read(entry.path()).expect("read a file"));
        }
    }
    all
}

/// Runs `ipamctl export --offline`.
pub(crate) fn export(store: &Path, more: &[&str]) -> Output {
    Command::new(locate::executable("ipamctl"))
        .args(["export", "--offline"])
        .arg(store)
        .args(more)
        .output()
        .expect("run ipamctl")
}

/// The leases of an export.
pub(crate) fn exported(output: &Output) -> Leases {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut leases = Leases::new();
    for line in text.lines() {
        let item: proto::ipam::v1::ExportItem = serde_json::from_str(line).expect("an item");
        if let Some(proto::ipam::v1::export_item::Item::Lease(lease)) = item.item {
            leases.insert(lease.id.clone(), lease);
        }
    }
    leases
}
