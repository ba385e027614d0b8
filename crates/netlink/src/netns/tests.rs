//! Work in namespaces that are made with `ip netns`, as root.

use std::path::{Path, PathBuf};

use super::{NetnsError, exists, is_gone, is_same, within};
use crate::test_netns::TestNetns;

fn here() -> PathBuf {
    std::fs::read_link("/proc/thread-self/ns/net").unwrap()
}

#[test]
fn the_work_is_done_inside_and_the_caller_stays_outside() {
    let netns = TestNetns::new();
    let before = here();
    let inside = within(&netns.path(), here).unwrap();
    assert_ne!(inside, before);
    assert_eq!(here(), before);
    exists(&netns.path()).unwrap();
}

#[test]
fn what_is_no_network_namespace_is_distinguished() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stale");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(
        exists(&file),
        Err(NetnsError::NotANamespace { .. })
    ));
    assert!(matches!(
        exists(dir.path()),
        Err(NetnsError::NotANamespace { .. })
    ));
    assert!(matches!(
        within(Path::new("/proc/self/ns/uts"), || ()),
        Err(NetnsError::NotANamespace { .. })
    ));
    assert!(matches!(
        exists(&dir.path().join("gone")),
        Err(NetnsError::Missing { .. })
    ));
    assert!(matches!(
        exists(Path::new("")),
        Err(NetnsError::Missing { .. })
    ));
}

#[test]
fn a_namespace_whose_folder_cannot_be_seen_is_not_known_to_be_gone() {
    let folder = tempfile::tempdir().unwrap();
    assert!(is_gone(&folder.path().join("x")));
    assert!(!is_gone(folder.path()));
    assert!(!is_gone(&folder.path().join("unseen/x")));
}

#[test]
fn a_namespace_is_the_same_by_every_path_that_leads_to_it() {
    let (netns, other) = (TestNetns::new(), TestNetns::new());
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(netns.path(), &link).unwrap();
    let (path, link) = (
        netns.path().display().to_string(),
        link.display().to_string(),
    );
    assert!(is_same(&path, &link));
    assert!(is_same("/gone", "/gone"));
    for stranger in [other.path().to_str().unwrap(), "0", "", "/gone"] {
        assert!(!is_same(stranger, &path), "{stranger}");
    }
}

#[test]
#[should_panic(expected = "inside")]
fn a_panic_inside_reaches_the_caller() {
    let netns = TestNetns::new();
    let _ = within(&netns.path(), || panic!("inside"));
}
