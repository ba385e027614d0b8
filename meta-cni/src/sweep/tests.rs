//! What is removed, and when.

use std::fs::File;
use std::path::PathBuf;

use super::*;
use crate::lease::switched::tests::{noted, record};

/// A state folder with a file of this age in each place.
fn state(files: &[(&str, Duration)]) -> tempfile::TempDir {
    let state = tempfile::tempdir().unwrap();
    for (name, age) in files {
        let path = state.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        age_of(&path, *age);
    }
    state
}

fn age_of(path: &Path, age: Duration) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

fn left(state: &Path) -> Vec<String> {
    let folders = FOLDERS.iter().flat_map(|folder| {
        let entries = fs::read_dir(state.join(folder)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path())
    });
    let mut left: Vec<String> = folders
        .map(|path: PathBuf| path.strip_prefix(state).unwrap().display().to_string())
        .collect();
    left.sort();
    left
}

#[test]
fn files_that_killed_processes_were_writing_are_removed_once_they_are_old() {
    let young = OLD - Duration::from_secs(60);
    let kept = [
        ("attachments/.c1.json.tmp", young),
        ("attachments/c1.json", OLD),
        ("attachments/c2.unreadable", OLD),
        ("ipam-servers/a.json", OLD),
        ("releases/a.json", OLD),
        ("releases/a.json.7.new", young),
        ("releases/a.refused", OLD),
        ("releases/lock-1", OLD),
    ];
    let removed = [
        ("attachments/.c2.json.tmp", OLD),
        ("attachments/.probe-7", OLD),
        ("ipam-servers/a.7.new", OLD),
        ("leasing/a.7.new", OLD),
        ("releases/b.json.7.new", OLD),
    ];
    let state = state(&[&kept[..], &removed].concat());
    temporaries(state.path(), SystemTime::now());
    assert_eq!(left(state.path()), kept.map(|(name, _)| name));
}

#[test]
fn a_link_in_the_place_of_a_folder_is_not_followed() {
    let state = state(&[("elsewhere/b.json.7.new", OLD)]);
    let releases = state.path().join("releases");
    std::os::unix::fs::symlink(state.path().join("elsewhere"), &releases).unwrap();
    temporaries(state.path(), SystemTime::now());
    assert_eq!(left(state.path()), ["releases/b.json.7.new"]);
}

#[test]
fn notes_of_networks_go_once_no_record_needs_them() {
    let state = state(&[]);
    let notes: Vec<PathBuf> = ["ns/nad", "gone", "new"]
        .map(|network| noted(state.path(), network))
        .into();
    for old in &notes[..2] {
        age_of(old, OLD);
    }
    let records = Records::new(state.path());
    records.make_folders().unwrap();
    let sandbox = records.lock("c1", Duration::ZERO).unwrap();
    let imported = record("blue", &serde_json::json!({"type": "host-local"}));
    sandbox.save_durably(&imported).unwrap();
    let are_left = || notes.iter().map(|note| note.exists()).collect::<Vec<_>>();

    // Multus has sandboxes that may need them.
    daily(state.path(), &records, || true);
    assert_eq!(are_left(), [true, true, true]);
    // Not twice a day.
    daily(state.path(), &records, || false);
    assert_eq!(are_left(), [true, true, true]);
    let next_day = || age_of(&state.path().join(STAMP), OLD);
    // A record that cannot be read may need any.
    let broken = state.path().join("attachments/c2.json");
    fs::write(&broken, "{").unwrap();
    next_day();
    daily(state.path(), &records, || false);
    assert_eq!(are_left(), [true, true, true]);
    fs::remove_file(&broken).unwrap();
    next_day();
    daily(state.path(), &records, || false);
    assert_eq!(are_left(), [true, false, true]);
}
