use std::collections::BTreeSet;

use super::*;

fn journal(full: u64) -> (tempfile::TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal {
        folder: folder.path().join("state"),
        full,
    };
    (folder, journal)
}

fn line(id: &str) -> Vec<u8> {
    let operation = Operation {
        container_id: id.to_owned(),
        ..Operation::default()
    };
    serde_json::to_vec(&operation).unwrap()
}

fn ids(operations: &[Operation]) -> Vec<&str> {
    let all = operations.iter();
    all.map(|operation| operation.container_id.as_str())
        .collect()
}

#[test]
fn the_newest_comes_first_and_nothing_there_is_nothing() {
    let (_folder, journal) = journal(FULL_BYTES);
    assert!(journal.recent().unwrap().is_empty());
    for id in ["a", "b", "c"] {
        journal.append(&line(id)).unwrap();
    }
    assert_eq!(ids(&journal.recent().unwrap()), ["c", "b", "a"]);
    let mode = fs::metadata(journal.now()).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::metadata(&journal.folder).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_line_that_was_cut_off_spoils_no_other() {
    let (_folder, journal) = journal(FULL_BYTES);
    journal.append(&line("a")).unwrap();
    let mut file = File::options().append(true).open(journal.now()).unwrap();
    file.write_all(&line("torn")[..20]).unwrap();
    assert_eq!(ids(&journal.recent().unwrap()), ["a"]);
    journal.append(&line("b")).unwrap();
    assert_eq!(ids(&journal.recent().unwrap()), ["b", "a"]);
}

#[test]
fn it_stays_bounded_while_many_append_and_keeps_every_line_whole() {
    let (_folder, journal) = journal(20_000);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..200 {
                    journal
                        .append(&line(&format!("{thread}-{number}")))
                        .unwrap();
                }
            });
        }
    });
    let length = line("0-000").len() as u64 + 1;
    // While one of them renames a full file, the others append to it. Whoever comes next finds it full.
    journal.append(&line("0-000")).unwrap();
    let size = fs::metadata(journal.now()).unwrap().len();
    assert!(size < 20_000 + length, "{size}");
    for path in [journal.now(), journal.before()] {
        let text = fs::read_to_string(&path).unwrap();
        // A process that appends while another one is just writing puts an empty line between.
        for line in text.lines().filter(|line| !line.is_empty()) {
            serde_json::from_str::<Operation>(line).unwrap();
        }
    }
    // Whoever renames leaves a whole file behind: rotation never loses the newest.
    assert!(journal.recent().unwrap().len() as u64 * length > 20_000);
}

#[test]
fn a_follower_reads_each_line_once_over_rotations() {
    let (_folder, journal) = journal(2_000);
    journal.append(&line("old")).unwrap();
    let mut follower = Follower::at_end(journal.clone());
    assert!(follower.read_new().unwrap().is_empty());
    let mut seen = BTreeSet::new();
    for round in 0..50 {
        for number in 0..3 {
            journal.append(&line(&format!("{round}-{number}"))).unwrap();
        }
        for operation in follower.read_new().unwrap() {
            assert!(seen.insert(operation.container_id));
        }
    }
    assert_eq!(seen.len(), 150);
    assert!(journal.before().exists());
}

#[test]
fn a_follower_waits_for_the_end_of_a_line_and_reads_what_came_late_to_the_earlier_file() {
    let (_folder, journal) = journal(FULL_BYTES);
    journal.append(&line("a")).unwrap();
    let mut follower = Follower::at_end(journal.clone());
    let mut late = File::options().append(true).open(journal.now()).unwrap();
    let whole = line("b");
    late.write_all(&whole[..30]).unwrap();
    assert!(follower.read_new().unwrap().is_empty());
    fs::rename(journal.now(), journal.before()).unwrap();
    journal.append(&line("c")).unwrap();
    assert_eq!(ids(&follower.read_new().unwrap()), ["c"]);
    late.write_all(&whole[30..]).unwrap();
    late.write_all(b"\n").unwrap();
    assert_eq!(ids(&follower.read_new().unwrap()), ["b"]);
}

#[test]
fn a_follower_reads_nothing_again_after_a_rotation_between_its_opening_of_the_two_files() {
    let (_folder, journal) = journal(FULL_BYTES);
    journal.append(&line("a")).unwrap();
    let mut follower = Follower::at_end(journal.clone());
    journal.append(&line("b")).unwrap();
    let mut opened = 0;
    let polled = follower.read_from(|path| {
        opened += 1;
        if opened == 2 {
            fs::rename(journal.now(), journal.before()).unwrap();
            journal.append(&line("c")).unwrap();
        }
        open_if_there(path)
    });
    assert_eq!(ids(&polled.unwrap()), ["b", "c"]);
    journal.append(&line("d")).unwrap();
    assert_eq!(ids(&follower.read_new().unwrap()), ["d"]);
}
