use super::*;

const CAPACITY: usize = segment::CAPACITY as usize;

fn entry(number: u64) -> Entry {
    Entry {
        key: format!("l{number:08}").into_bytes(),
        value: Some(vec![7; 100]),
        within: None,
    }
}

fn status(head: u64) -> Status {
    Status {
        head,
        ..Status::empty()
    }
}

/// A journal with records 1 to `records`, over an empty base.
fn made(folder: &Path, records: u64) -> Journal {
    let bytes = BaseWriter::create(folder, 1, 0)
        .and_then(|base| base.finish(folder, 0))
        .unwrap();
    let mut journal = Journal::begin(folder, Status::empty(), bytes).unwrap();
    for number in 1..=records {
        journal.append(vec![entry(number)], status(number)).unwrap();
    }
    journal
}

fn numbers(found: &Found, after: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    let read = found.records(after, |number, entries| {
        assert_eq!(entries, [entry(number)]);
        numbers.push(number);
        Ok::<(), Hole>(())
    });
    read.unwrap();
    numbers
}

#[test]
fn records_are_read_in_order_from_any_one_on() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), 5);
    let found = read(dir.path()).unwrap();
    assert_eq!((found.sequence, found.status), (5, status(5)));
    assert!(!found.torn);
    assert_eq!(numbers(&found, 0), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&found, 3), [4, 5]);
}

#[test]
fn a_record_that_was_void_does_not_count_and_its_number_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = made(dir.path(), 3);
    journal.append(vec![entry(99)], status(99)).unwrap();
    journal.roll_back(status(3));
    assert!(journal.append(vec![entry(4)], status(4)).is_err());
    journal.void().unwrap();
    journal.append(vec![entry(4)], status(4)).unwrap();
    drop(journal);
    let found = read(dir.path()).unwrap();
    assert_eq!(numbers(&found, 0), [1, 2, 3, 4]);
    assert_eq!(found.status, status(4));
}

#[test]
fn a_record_that_is_longer_than_a_segment_has_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = made(dir.path(), 1);
    let long = Entry {
        key: b"l2".to_vec(),
        value: Some(vec![7; 20 << 20]),
        within: None,
    };
    journal.append(vec![long.clone()], status(2)).unwrap();
    journal.append(vec![entry(3)], status(3)).unwrap();
    let found = read(dir.path()).unwrap();
    assert_eq!(found.segments.len(), 2);
    assert_eq!(found.sequence, 3);
    let mut last = Vec::new();
    let read = found.records(1, |number, entries| {
        last.push((number, entries == [long.clone()]));
        Ok::<(), Hole>(())
    });
    read.unwrap();
    assert_eq!(last, [(2, true), (3, false)]);
}

#[test]
fn a_torn_end_is_followed_by_a_new_segment() {
    let dir = tempfile::tempdir().unwrap();
    drop(made(dir.path(), 3));
    let file = dir.path().join("journal-0000000001");
    let bytes = fs::read(&file).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64;
    // The second copy of record 3 is torn; then the first one, too.
    File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(end - 20)
        .unwrap();
    assert_eq!(read(dir.path()).unwrap().sequence, 3);
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes[..CAPACITY].iter().rposition(|&byte| byte != 0);
    bytes[end.unwrap() - 20..CAPACITY].fill(0);
    fs::write(&file, bytes).unwrap();
    let found = read(dir.path()).unwrap();
    assert!(found.torn && found.sequence == 2);
    let mut journal = Journal::go_on(&found).unwrap();
    journal.append(vec![entry(3)], status(3)).unwrap();
    let found = read(dir.path()).unwrap();
    assert_eq!(numbers(&found, 0), [1, 2, 3]);
    assert_eq!(found.segments.len(), 2);
}

#[test]
fn a_hole_is_never_passed_over() {
    for gone in [1, 2, 3] {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = made(dir.path(), 3);
        for record in [4, 5] {
            journal.next_segment(0).unwrap();
            let appended = journal.append(vec![entry(record)], status(record));
            appended.unwrap();
        }
        drop(journal);
        assert_eq!(read(dir.path()).unwrap().sequence, 5);
        segment::remove(dir.path(), gone).unwrap();
        let hole = read(dir.path()).unwrap_err();
        assert!(hole.what.contains("segment"), "{}", hole.what);
        assert_eq!(tail(dir.path()).is_none(), gone == 3);
    }
    // In the middle of a segment, in both copies.
    let dir = tempfile::tempdir().unwrap();
    drop(made(dir.path(), 9));
    let file = dir.path().join("journal-0000000001");
    let mut bytes = fs::read(&file).unwrap();
    for copy in [0, CAPACITY] {
        bytes[copy + 300..copy + 500].fill(0);
    }
    fs::write(&file, bytes).unwrap();
    let hole = read(dir.path()).unwrap_err();
    assert!(hole.what.contains("are damaged"), "{}", hole.what);
    // Cut off anywhere before the second copies: what was behind the cut left no trace.
    for kept in [200, 400, 1 << 20, segment::CAPACITY] {
        let dir = tempfile::tempdir().unwrap();
        drop(made(dir.path(), 9));
        let file = dir.path().join("journal-0000000001");
        let file = File::options().write(true).open(file).unwrap();
        file.set_len(kept).unwrap();
        let hole = read(dir.path()).unwrap_err();
        assert!(
            hole.what.contains("it was cut off"),
            "{kept}: {}",
            hole.what
        );
    }
}

#[test]
fn a_base_takes_the_place_of_what_came_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = made(dir.path(), 3);
    journal.due = 0;
    let (number, sequence) = journal.base_due().unwrap().unwrap();
    assert_eq!((number, sequence), (2, 3));
    // Beside it commits go on.
    journal.append(vec![entry(4)], status(4)).unwrap();
    let mut base = BaseWriter::create(dir.path(), number, sequence).unwrap();
    for number in 1..=3 {
        let entry = entry(number);
        base.add(entry.key, entry.value.unwrap()).unwrap();
    }
    assert_eq!(read(dir.path()).unwrap().base, 1, "it is not there yet");
    let bytes = base.finish(dir.path(), 4).unwrap();
    let found = read(dir.path()).unwrap();
    assert_eq!((found.base, numbers(&found, 0)), (2, vec![4]));
    journal.has_base(number, bytes);
    assert_eq!(segment::list(dir.path()).unwrap(), [2]);
    assert_eq!(base::list(dir.path()).unwrap(), [2]);
    let found = read(dir.path()).unwrap();
    let mut count = 0;
    let read = found.base(|entries| {
        count += entries.len();
        Ok::<(), Hole>(())
    });
    read.unwrap();
    assert_eq!(count, 3);
}

#[test]
fn all_whole_frames_are_found_behind_a_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(made(dir.path(), 9));
    let file = dir.path().join("journal-0000000001");
    let mut bytes = fs::read(&file).unwrap();
    for copy in [0, CAPACITY] {
        bytes[copy + 300..copy + 500].fill(0);
    }
    fs::write(&file, bytes).unwrap();
    let mut found = std::collections::BTreeSet::new();
    let scanned = scan(dir.path(), |frame| {
        if frame.kind() == FrameKind::Record {
            found.insert(frame.sequence);
        }
    });
    scanned.unwrap();
    assert!(found.len() >= 6 && found.contains(&9), "{found:?}");
}

#[test]
fn a_segment_that_somebody_removed_takes_nothing_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = made(dir.path(), 3);
    let (file, aside) = (
        dir.path().join("journal-0000000001"),
        dir.path().join("aside"),
    );
    fs::rename(&file, &aside).unwrap();
    assert!(journal.append(vec![entry(4)], status(4)).is_err());
    assert!(journal.void().is_err());
    fs::rename(&aside, &file).unwrap();
    journal.void().unwrap();
    journal.append(vec![entry(4)], status(4)).unwrap();
    assert_eq!(numbers(&read(dir.path()).unwrap(), 0), [1, 2, 3, 4]);
}
