//! Copies between folders: whole ones, interrupted ones, and targets that are refused.

use std::collections::BTreeSet;

use ipam_core::event::{Change, Event, EventType};
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::log::{Log as _, Origin};
use ipam_core::pool::Pool;
use tempfile::TempDir;

use super::*;
use crate::store::sled::SledStore;

/// Events of the source, and those of them that its history keeps.
const REVISIONS: u64 = 5_000;
const KEPT: u64 = 1_500;

struct Scene {
    folder: TempDir,
}

impl Scene {
    fn place(&self, name: &str) -> Place {
        Place::Sled(self.folder.path().join(name))
    }

    /// A store with a pool and leases, of which some are gone, some changed, and most were made before the history begins.
    fn new(kept: u64) -> Scene {
        let scene = Scene {
            folder: tempfile::tempdir().unwrap(),
        };
        let Place::Sled(folder) = scene.place("source") else {
            panic!("a folder")
        };
        let store = SledStore::open(&folder, 1 << 20).unwrap();
        for group in groups(kept) {
            let at = store.extent().unwrap().position;
            store.append(at, &group).unwrap();
        }
        scene
    }

    /// Copies, and ends after so many groups.
    fn copy(&self, to: &str, groups: Option<usize>) -> Result<Copied, CopyError> {
        let (stop, seen) = (AtomicBool::new(false), std::sync::Mutex::new(0));
        let control = Control {
            progress: &|done, all| {
                assert!(done <= all);
                let mut seen = seen.lock().unwrap();
                *seen += 1;
                if groups == Some(*seen) {
                    stop.store(true, Ordering::Relaxed);
                }
            },
            stop: &stop,
        };
        copy(&self.place("source"), &self.place(to), false, &control)
    }

    fn sum(&self, name: &str) -> Sum {
        let opened = self.place(name).open_source().unwrap().unwrap();
        Sum::of(opened.store()).unwrap()
    }
}

fn lease(id: u64, generation: u64) -> Arc<Lease> {
    let address = format!("10.{}.{}.1/8", id >> 8, id & 255);
    Arc::new(Lease {
        id: LeaseId(id),
        pool: "blue".into(),
        vrf: "default".into(),
        ipv4: address.parse().ok(),
        generation,
        ..Lease::default()
    })
}

/// The log of the source: a pool, then leases; each tenth event changes the lease of before, each hundredth ends it.
fn groups(kept: u64) -> Vec<Group> {
    let event = |revision: u64| Event {
        revision,
        kind: EventType::Updated,
        change: match revision {
            1 => Change::pool(
                None,
                Some(Arc::new(Pool {
                    name: "blue".into(),
                    ..Pool::default()
                })),
            ),
            gone if gone % 100 == 1 => Change::lease(Some(lease(gone - 2, 2)), None),
            changed if changed % 10 == 0 => {
                Change::lease(Some(lease(changed - 1, 1)), Some(lease(changed - 1, 2)))
            }
            made => Change::lease(None, Some(lease(made, 1))),
        },
        ..Event::default()
    };
    let origin = OriginChange {
        before: None,
        after: Origin {
            id: "abc".into(),
            awaited: BTreeSet::from(["node".to_owned()]),
            lease_offset: 7,
            secret: "00".into(),
            ..Origin::default()
        },
    };
    let all: Vec<_> = (1..=REVISIONS).map(event).collect();
    let mut groups: Vec<_> = all
        .chunks(100)
        .map(|events| Group {
            events: events.to_vec(),
            forget_events_to: events.last().unwrap().revision.checked_sub(kept),
            origin: None,
        })
        .collect();
    groups[0].origin = Some(origin);
    groups
}

#[test]
fn a_store_is_copied_with_its_history_and_identity() {
    for kept in [KEPT, REVISIONS, 1] {
        let scene = Scene::new(kept);
        let copied = scene.copy("target", None).unwrap();
        assert_eq!(copied.began, Began::Empty);
        let sum = scene.sum("source");
        assert_eq!((sum.revision, sum.events), (REVISIONS, kept));
        assert_eq!(copied.sum, sum);
        assert_eq!(scene.sum("target"), sum);
        let opened = scene.place("target").open_source().unwrap().unwrap();
        let origin = opened.store().origin().unwrap().unwrap();
        assert_eq!((origin.id.as_str(), origin.lease_offset), ("abc", 7));
        let at = opened.store().extent().unwrap().position;
        let next = Event {
            revision: REVISIONS + 1,
            change: Change::lease(None, Some(lease(REVISIONS + 1, 1))),
            ..Event::default()
        };
        let next = Group {
            events: vec![next],
            ..Group::default()
        };
        assert!(matches!(
            opened.store().append(at, &next),
            Ok(Append::Appended(_))
        ));
    }
}

#[test]
fn an_interrupted_copy_is_no_store_and_goes_on() {
    let scene = Scene::new(KEPT);
    let Place::Sled(folder) = scene.place("target") else {
        panic!("a folder")
    };
    let mut times = 0;
    loop {
        match scene.copy("target", Some(1)) {
            Err(CopyError::Interrupted { .. }) => times += 1,
            copied => {
                assert_eq!(copied.unwrap().began, Began::Unfinished);
                break;
            }
        }
        let opened = SledStore::open(&folder, 1 << 20).err();
        assert!(matches!(opened, Some(StoreError::Unfinished { .. })));
        assert!(times < 20, "it does not go on");
    }
    assert!(times >= 4, "{times}");
    assert_eq!(scene.sum("target"), scene.sum("source"));
}

#[test]
fn a_target_with_something_else_is_left_as_it_is() {
    let scene = Scene::new(KEPT);
    let refused = |to: &str| scene.copy(to, None).unwrap_err();
    assert!(matches!(refused("source"), CopyError::Same { .. }));
    scene.copy("whole", None).unwrap();
    assert!(matches!(refused("whole"), CopyError::NotEmpty { .. }));
    let other = scene.folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("letter"), "x").unwrap();
    assert!(matches!(refused("other"), CopyError::NotEmpty { .. }));
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 1);
}

#[test]
fn an_unfinished_copy_of_what_the_source_was_is_not_gone_on_with() {
    let scene = Scene::new(KEPT);
    scene.copy("target", Some(2)).unwrap_err();
    let opened = scene.place("source").open_source().unwrap().unwrap();
    let store = opened.store();
    let event = Event {
        revision: REVISIONS + 1,
        change: Change::lease(None, Some(lease(REVISIONS + 1, 1))),
        ..Event::default()
    };
    let group = Group {
        events: vec![event],
        ..Group::default()
    };
    let at = store.extent().unwrap().position;
    store.append(at, &group).unwrap();
    let locked = scene.copy("fresh", None).unwrap_err();
    let is_locked = matches!(locked, CopyError::Store(StoreError::Locked { .. }));
    assert!(is_locked, "{locked}");
    drop(opened);
    let refused = scene.copy("target", None).unwrap_err();
    assert!(
        matches!(refused, CopyError::OtherSource { .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("at revision 5000"),
        "{refused}"
    );
}

#[test]
fn a_dry_run_changes_nothing_and_an_empty_source_is_none() {
    let scene = Scene::new(KEPT);
    let (stop, target) = (AtomicBool::new(false), scene.place("target"));
    let control = Control {
        progress: &|_, _| panic!("nothing is written"),
        stop: &stop,
    };
    let copied = copy(&scene.place("source"), &target, true, &control).unwrap();
    assert_eq!(copied.sum, scene.sum("source"));
    assert!(!scene.folder.path().join("target").exists());
    let none = copy(&scene.place("nothing"), &target, false, &control).unwrap_err();
    assert!(matches!(none, CopyError::NoStore { .. }));
    assert!(!scene.folder.path().join("nothing").exists());
}
