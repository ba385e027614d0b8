//! What a damaged file does to a store: it is put right, or refused as a whole and saved.

use super::*;

const COMMITS: u64 = 40;

/// A store that was closed, or killed: then sled has written nothing of the last commits.
fn made(path: &Path, killed: bool) {
    let first = store(path).unwrap();
    for number in 1..=COMMITS / 2 {
        commit(&first, &group(number)).unwrap();
    }
    drop(first);
    let second = store(path).unwrap();
    if !killed {
        for number in COMMITS / 2 + 1..=COMMITS {
            commit(&second, &group(number)).unwrap();
        }
        return;
    }
    let before: Vec<_> = files(path).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in &before {
        if path.join(name).is_file() {
            fs::copy(path.join(name), copy.path().join(name)).unwrap();
        }
    }
    for number in COMMITS / 2 + 1..=COMMITS {
        commit(&second, &group(number)).unwrap();
    }
    drop(second);
    index::remove(path).unwrap();
    for entry in fs::read_dir(copy.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
    }
}

/// Copies the files of a store.
pub(super) fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

fn snapshot_of(path: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_file() && entry.file_name() != LOCK)
        .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
        .collect();
    all.sort();
    all
}

/// Opens it: all is there, or it is refused, left as it is, and saved but for `lost` leases.
fn starts_or_is_saved(path: &Path, what: &str, lost: usize) {
    let before = snapshot_of(path);
    let all = usize::try_from(COMMITS).unwrap();
    match store(path) {
        Ok(store) => {
            assert_eq!(store.leases(LeaseId(0), 1000).unwrap().len(), all, "{what}");
        }
        Err(StoreError::Corrupt { what: why, .. }) => {
            assert_eq!(snapshot_of(path), before, "{what}: {why}");
            let scratch = tempfile::tempdir().unwrap();
            let mut items = 0;
            let missing = salvage(path, scratch.path(), |_| items += 1).unwrap();
            assert!(items + lost >= all, "{what}: {items} saved; {missing:?}");
            assert!(items == all || !missing.is_empty(), "{what}: {items}");
            assert_eq!(snapshot_of(path), before, "{what}");
            assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "{what}");
        }
        Err(error) => panic!("{what}: {error:?}"),
    }
}

fn names(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let names = names.filter(|entry| entry.path().is_file());
    let mut names: Vec<_> = names
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name != LOCK);
    names.sort();
    names
}

#[test]
fn a_file_that_is_gone_cut_or_zeroed_costs_nothing_unnoticed() {
    for killed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let original = dir.path().join("original");
        made(&original, killed);
        for name in names(&original) {
            for damage in ["gone", "empty", "cut", "half", "zeroed", "flipped"] {
                let path = dir.path().join("store");
                copy(&original, &path);
                let file = path.join(&name);
                let mut bytes = fs::read(&file).unwrap();
                let length = bytes.len();
                match damage {
                    "gone" => fs::remove_file(&file).unwrap(),
                    "empty" => bytes.clear(),
                    "cut" => bytes.truncate(length.saturating_sub(1)),
                    "half" => bytes.truncate(length / 2),
                    "zeroed" => bytes.fill(0),
                    _ => {
                        let middle = bytes.iter().rposition(|&byte| byte != 0).unwrap_or(0) / 2;
                        bytes[middle] ^= 1;
                    }
                }
                if damage != "gone" {
                    fs::write(&file, bytes).unwrap();
                }
                // Without the segment that holds them, the last commits of a killed server are nowhere.
                let whole =
                    name.starts_with("journal-") && ["gone", "empty", "zeroed"].contains(&damage);
                let lost = if whole && killed { COMMITS } else { 0 };
                let what = format!("{name} {damage}, killed {killed}");
                starts_or_is_saved(&path, &what, usize::try_from(lost).unwrap());
            }
        }
    }
}

#[test]
fn the_last_record_is_torn_or_damaged_in_one_place_and_known_apart() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    made(&original, true);
    let segment = names(&original)
        .into_iter()
        .rfind(|name| name.starts_with("journal-"))
        .unwrap();
    let bytes = fs::read(original.join(&segment)).unwrap();
    let second = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let first = bytes[..4 << 20]
        .iter()
        .rposition(|&byte| byte != 0)
        .unwrap()
        + 1;
    for (what, from, until) in [
        ("the first copy", first - 8, first),
        ("the second copy", second - 8, second),
        ("a block of first copies", first.saturating_sub(4096), first),
    ] {
        let mut damaged = bytes.clone();
        damaged[from..until].fill(0xa5);
        fs::write(original.join(&segment), damaged).unwrap();
        let found = journal::read(&original).unwrap();
        assert_eq!(found.status.head, COMMITS, "{what}");
    }
    let mut torn = bytes.clone();
    torn[first - 8..first].fill(0);
    torn.truncate(second - 8);
    fs::write(original.join(&segment), torn).unwrap();
    let found = journal::read(&original).unwrap();
    assert!(found.torn && found.status.head == COMMITS - 1);
    let again = store(&original).unwrap();
    assert_eq!(again.extent().unwrap().revision, COMMITS - 1);
}

#[test]
fn a_snapshot_that_was_not_finished_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), false);
    fs::write(dir.path().join("snap.00000000000FFFFF.generating"), b"half").unwrap();
    let again = store(dir.path()).unwrap();
    assert_eq!(again.extent().unwrap().revision, COMMITS);
}

#[test]
fn what_the_history_says_was_released_does_not_come_back_from_a_damaged_journal() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), true);
    let opened = store(dir.path()).unwrap();
    let gone = change(COMMITS + 1, Some(lease(1)), None);
    commit(&opened, &gone).unwrap();
    drop(opened);
    // The base still has it.
    for name in names(dir.path())
        .iter()
        .filter(|name| name.starts_with("base-"))
    {
        let mut bytes = fs::read(dir.path().join(name)).unwrap();
        let end = bytes.len();
        bytes.truncate(end - 3);
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    assert!(matches!(
        store(dir.path()).err(),
        Some(StoreError::Corrupt { .. })
    ));
    let mut items = Vec::new();
    let lost = salvage(dir.path(), dir.path(), |item| items.push(item)).unwrap();
    assert_eq!((items.len() as u64, lost), (COMMITS - 1, Vec::new()));
}

#[test]
fn a_commit_that_nobody_was_answered_for_is_not_saved_from_a_whole_journal() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), false);
    let found = journal::read(dir.path()).unwrap();
    let mut journal = journal::Journal::go_on(&found).unwrap();
    let unanswered = values::changed(&group(999), found.status.oldest..=found.status.head).entries;
    journal.append(unanswered, found.status).unwrap();
    journal.roll_back(found.status);
    journal.void().unwrap();
    drop(journal);
    let mut items = 0;
    let lost = salvage(dir.path(), dir.path(), |_| items += 1).unwrap();
    assert_eq!((items, lost), (COMMITS, Vec::new()));
}
