//! Moving a store into etcd and back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ipam_core::log::{Group, Store as _, StoreError};
use ipam_server::store::copy::{Began, Control, Copied, CopyError, Place, Sum, copy};
use ipam_server::store::etcd::EtcdStore;
use ipam_server::store::sled::SledStore;
use tempfile::TempDir;

use crate::member::{Member, append, leases, open};

/// Leases of the source, of which the history has those of the last groups.
const LEASES: u64 = 6_000;
const FORGOTTEN: u64 = 3_500;

fn sled(folder: &TempDir, name: &str) -> Place {
    Place::Sled(folder.path().join(name))
}

/// Fills a store in a folder.
fn fill(place: &Place) {
    let Place::Sled(path) = place else {
        panic!("it is a folder")
    };
    let store = SledStore::open(path, 1 << 20).unwrap();
    for from in (1..LEASES).step_by(500) {
        append(&store, &leases(from, from + 499)).unwrap();
    }
    let forget = Group {
        forget_events_to: Some(FORGOTTEN),
        ..leases(LEASES + 1, LEASES + 1)
    };
    append(&store, &forget).unwrap();
}

/// Copies, and ends before a group of this number.
fn copied(from: &Place, to: &Place, end: Option<usize>) -> Result<Copied, CopyError> {
    let (stop, groups) = (AtomicBool::new(false), AtomicUsize::new(0));
    let control = Control {
        progress: &|_, _| {
            let number = groups.fetch_add(1, Ordering::Relaxed);
            stop.store(Some(number) == end, Ordering::Relaxed);
        },
        stop: &stop,
    };
    copy(from, to, false, &control)
}

fn sum(place: &Place) -> Sum {
    let (stop, end) = (AtomicBool::new(false), tempfile::tempdir().unwrap());
    let control = Control {
        progress: &|_, _| {},
        stop: &stop,
    };
    copy(place, &sled(&end, "nowhere"), true, &control)
        .unwrap()
        .sum
}

#[test]
fn a_store_moves_into_etcd_and_back_and_is_the_same() {
    let (member, folder) = (Member::start(&[]), tempfile::tempdir().unwrap());
    let (source, back) = (sled(&folder, "source"), sled(&folder, "back"));
    let settings = member.settings();
    let between = Place::Etcd(settings.clone());
    fill(&source);
    let whole = sum(&source);
    assert_eq!(
        (whole.revision, whole.leases, whole.oldest_revision),
        (LEASES + 1, LEASES + 1, FORGOTTEN + 1)
    );
    assert_eq!(copied(&source, &between, None).unwrap().sum, whole);
    assert_eq!(sum(&between), whole);
    assert_eq!(copied(&between, &back, None).unwrap().sum, whole);
    assert_eq!(sum(&back), whole);
    // A server goes on with it.
    let store = open(&settings);
    append(&store, &leases(LEASES + 2, LEASES + 2)).unwrap();
    let refused = copied(&source, &between, None).unwrap_err();
    assert!(matches!(refused, CopyError::NotEmpty { .. }), "{refused}");
}

#[test]
fn an_interrupted_copy_into_etcd_is_no_store_and_goes_on_wherever_it_was() {
    let (member, folder) = (Member::start(&[]), tempfile::tempdir().unwrap());
    let source = sled(&folder, "source");
    fill(&source);
    for end in 0..6 {
        let settings = crate::member::settings(std::slice::from_ref(&member));
        let target = Place::Etcd(settings.clone());
        let ended = copied(&source, &target, Some(end)).unwrap_err();
        assert!(matches!(ended, CopyError::Interrupted { .. }), "{ended}");
        let refused = EtcdStore::open(&settings).err();
        assert!(matches!(refused, Some(StoreError::Unfinished { .. })));
        let whole = copied(&source, &target, None).unwrap();
        assert_eq!(whole.began, Began::Unfinished, "from group {end} on");
        assert_eq!(sum(&target), sum(&source));
    }
}

#[test]
fn stores_that_servers_have_open_are_not_copied() {
    let (member, folder) = (Member::start(&[]), tempfile::tempdir().unwrap());
    let source = sled(&folder, "source");
    fill(&source);
    let settings = member.settings();
    let between = Place::Etcd(settings.clone());
    copied(&source, &between, None).unwrap();
    // A server of the source writes while the copy is made.
    let server = open(&settings);
    let groups = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let control = Control {
        progress: &|_, _| {
            if groups.fetch_add(1, Ordering::Relaxed) == 1 {
                append(&server, &leases(LEASES + 2, LEASES + 2)).unwrap();
            }
        },
        stop: &stop,
    };
    let refused = copy(&between, &sled(&folder, "back"), false, &control).unwrap_err();
    assert!(matches!(refused, CopyError::InUse { .. }), "{refused}");
    // A server of the target begins before the copy is made.
    let settings = crate::member::settings(std::slice::from_ref(&member));
    let server = open(&settings);
    let target = Place::Etcd(settings.clone());
    let groups = AtomicUsize::new(0);
    let control = Control {
        progress: &|_, _| {
            if groups.fetch_add(1, Ordering::Relaxed) == 1 {
                // It takes in what it missed, and appends.
                crate::member::follow(&server);
                let next = server.extent().unwrap().revision + 1;
                append(&server, &leases(next, next)).unwrap();
            }
        },
        stop: &stop,
    };
    let refused = copy(&source, &target, false, &control).unwrap_err();
    assert!(matches!(refused, CopyError::InUse { .. }), "{refused}");
}
