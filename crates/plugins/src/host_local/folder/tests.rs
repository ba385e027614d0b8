use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::thread;
use std::time::Duration;

use super::*;

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_lease_is_a_file_as_the_reference_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/net");
    let mut folder = Folder::open(&path, later()).unwrap();
    let holder = Holder::new(" c1 ", "eth0");
    let draft = folder.draft(&holder);
    assert!(folder.reserve(&draft, ip("10.0.0.2")).unwrap());
    folder.set_last_reserved(0, ip("10.0.0.2")).unwrap();
    let lease = path.join("10.0.0.2");
    assert_eq!(fs::read_to_string(&lease).unwrap(), "c1\r\neth0");
    assert_eq!(
        lease.metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(folder.last_reserved(0), Some(ip("10.0.0.2")));
    assert_eq!(folder.last_reserved(1), None);
    assert_eq!(names(&path), ["10.0.0.2", "last_reserved_ip.0", "lock"]);
}

#[test]
fn what_was_reserved_last_is_replaced_whole() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path(), later()).unwrap();
    for address in ["10.0.0.9", "10.0.0.10", "10.0.0.9", "10.0.0.8", "fd00::1"] {
        folder.set_last_reserved(0, ip(address)).unwrap();
        let text = fs::read_to_string(dir.path().join("last_reserved_ip.0")).unwrap();
        assert_eq!(text, address);
    }
}

#[test]
fn all_leases_of_an_add_are_names_of_one_file_and_released_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut folder = Folder::open(dir.path(), later()).unwrap();
    let holder = Holder::new("c1", "eth0");
    let draft = folder.draft(&holder);
    for address in ["10.0.0.2", "fd00::2"] {
        assert!(folder.reserve(&draft, ip(address)).unwrap());
    }
    let both = fs::metadata(dir.path().join("fd00::2")).unwrap();
    assert_eq!(both.nlink(), 2);
    folder.release(ip("10.0.0.2")).unwrap();
    let left = fs::read_to_string(dir.path().join("fd00::2")).unwrap();
    assert_eq!(left, "c1\r\neth0");
}

#[test]
fn an_address_is_leased_once_with_and_without_unnamed_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut folder = Folder::open(dir.path(), later()).unwrap();
    for unnamed in [true, false] {
        let (one, other) = (Holder::new("c1", "eth0"), Holder::new("c2", "eth0"));
        let mut draft = folder.draft(&one);
        if !unnamed {
            draft.unnamed = None;
        }
        let address = ip(if unnamed { "10.0.0.2" } else { "fd00::2" });
        assert!(folder.reserve(&draft, address).unwrap());
        let other = folder.draft(&other);
        assert!(!folder.reserve(&other, address).unwrap());
    }
    let mut found = folder.leases_of(&Holder::new("c1", "eth0")).unwrap();
    found.sort();
    assert_eq!(found, [ip("10.0.0.2"), ip("fd00::2")]);
    assert!(
        folder
            .leases_of(&Holder::new("c2", "eth0"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_names_the_container_alone_is_released_if_nothing_names_the_interface() {
    let dir = tempfile::tempdir().unwrap();
    let mut folder = Folder::open(dir.path(), later()).unwrap();
    for (name, text) in [
        ("10.0.0.2", "c1"),
        ("10.0.0.3", "c1\r\neth0\n"),
        ("10.0.0.4", "c1\r\nnet1"),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    folder.release_all_of(&Holder::new("c1", "eth0")).unwrap();
    assert_eq!(names(dir.path()), ["10.0.0.2", "10.0.0.4", "lock"]);
    folder.release_all_of(&Holder::new("c1", "eth0")).unwrap();
    assert_eq!(names(dir.path()), ["10.0.0.4", "lock"]);
}

#[test]
fn garbage_is_what_no_valid_attachment_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut folder = Folder::open(dir.path(), later()).unwrap();
    folder.set_last_reserved(0, ip("10.0.0.4")).unwrap();
    for (name, text) in [
        ("10.0.0.2", "c1\r\neth0"),
        ("10.0.0.3", "c2\r\neth0"),
        ("10.0.0.4", "c1"),
        ("10.0.0.5", ""),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let valid = AttachmentId {
        container_id: "c1".to_owned(),
        ifname: "eth0".to_owned(),
    };
    folder.keep_only(&[valid]).unwrap();
    assert_eq!(
        names(dir.path()),
        ["10.0.0.2", "10.0.0.4", "last_reserved_ip.0", "lock"]
    );
    folder.keep_only(&[]).unwrap();
    assert_eq!(names(dir.path()), ["last_reserved_ip.0", "lock"]);
}

#[test]
fn a_locked_folder_is_waited_for_until_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path(), later()).unwrap();
    let late = Folder::open(dir.path(), Instant::now());
    assert!(matches!(late, Err(FolderError::Locked { .. })));
    let path = dir.path().to_owned();
    let waiting = thread::spawn(move || Folder::open(&path, later()).is_ok());
    drop(folder);
    assert!(waiting.join().unwrap());
}

/// A folder of 300 leases with its index, and both paths.
fn with_index(dir: &tempfile::TempDir) -> (PathBuf, PathBuf) {
    let (path, indexes) = (dir.path().join("net"), dir.path().join("indexes"));
    fs::create_dir(&path).unwrap();
    for number in 0..300 {
        let lease = path.join(format!("10.0.{}.{}", number / 256, number % 256));
        fs::write(lease, format!("c{number}\r\neth0")).unwrap();
    }
    let mut folder = Folder::open_with(&path, &indexes, later()).unwrap();
    assert!(
        folder
            .index
            .candidates(&Holder::new("c7", "eth0"))
            .is_none()
    );
    assert_eq!(
        folder.leases_of(&Holder::new("c7", "eth0")).unwrap(),
        [ip("10.0.0.7")]
    );
    folder.close();
    assert_eq!(names(&indexes).len(), 1);
    (path, indexes)
}

#[test]
fn an_index_follows_what_is_done_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, indexes) = with_index(&dir);
    let holder = Holder::new("new", "net1");
    for _ in 0..2 {
        let mut folder = Folder::open_with(&path, &indexes, later()).unwrap();
        let none = folder.index.candidates(&holder);
        assert!(none.is_some(), "the index is trusted");
        assert!(folder.leases_of(&holder).unwrap().is_empty());
        let draft = folder.draft(&holder);
        assert!(folder.reserve(&draft, ip("10.9.0.1")).unwrap());
        folder.set_last_reserved(0, ip("10.9.0.1")).unwrap();
        folder.close();
        let mut folder = Folder::open_with(&path, &indexes, later()).unwrap();
        assert_eq!(folder.index.candidates(&holder), Some(vec![ip("10.9.0.1")]));
        folder.release_all_of(&holder).unwrap();
        folder.close();
        assert!(!path.join("10.9.0.1").exists());
    }
}

#[test]
fn an_index_is_not_trusted_after_another_plugin_changed_the_folder_or_died_in_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let (path, indexes) = with_index(&dir);
    let open = || Folder::open_with(&path, &indexes, later()).unwrap();
    let holder = Holder::new("c7", "eth0");
    // A plugin that leases an address writes both.
    fs::write(path.join("10.8.0.1"), "c7\r\neth0").unwrap();
    fs::write(path.join("last_reserved_ip.0"), "10.8.0.1").unwrap();
    let mut folder = open();
    assert_eq!(folder.index.candidates(&holder), None);
    let mut found = folder.leases_of(&holder).unwrap();
    found.sort();
    assert_eq!(found, [ip("10.0.0.7"), ip("10.8.0.1")]);
    folder.close();
    let mut folder = open();
    assert_eq!(
        folder.index.candidates(&holder).map(|all| all.len()),
        Some(2)
    );
    folder.release(ip("10.8.0.1")).unwrap();
    drop(folder);
    let mut folder = open();
    assert_eq!(folder.index.candidates(&holder), None);
    assert_eq!(folder.leases_of(&holder).unwrap(), [ip("10.0.0.7")]);
    folder.close();
}

#[test]
fn an_index_that_has_grown_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (path, indexes) = with_index(&dir);
    let holder = Holder::new(&"c".repeat(1000), "eth0");
    let mut was_dropped = false;
    for _ in 0..100 {
        let mut folder = Folder::open_with(&path, &indexes, later()).unwrap();
        was_dropped |= folder.index.candidates(&holder).is_none();
        assert!(folder.leases_of(&holder).unwrap().is_empty());
        let draft = folder.draft(&holder);
        assert!(folder.reserve(&draft, ip("10.9.0.1")).unwrap());
        folder.release(ip("10.9.0.1")).unwrap();
        folder.close();
    }
    assert!(was_dropped);
    let index = indexes.join(&names(&indexes)[0]);
    let length = index.metadata().unwrap().len();
    assert!(length < 200_000, "{length}");
}
