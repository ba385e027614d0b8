//! Export, and import of what was exported.

use proto::ipam::v1::export_item::Item;
use proto::ipam::v1::{ExportHeader, ExportItem};
use serde_json::Value;

use crate::canned::Canned;
use crate::harness::{Bench, json};

#[test]
fn an_export_is_imported_again_and_changes_nothing_the_second_time() {
    let bench = Bench::with_lease();
    let file = bench.path("all.jsonl").display().to_string();
    let done = bench.run(&format!("export -f {file}"));
    assert_eq!((done.out.as_str(), done.code), ("", Some(0)), "{done:?}");
    let text = std::fs::read_to_string(&file).expect("written");
    let header = json(text.lines().next().expect("a header"));
    assert_eq!(header["header"]["format"], 1);
    let again = bench.done("export");
    let items = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(items(&text), items(&again));
    let other = Bench::new();
    let counts = |line: &str| {
        let answer = other.json(line);
        (answer["imported"].clone(), answer["unchanged"].clone())
    };
    assert_eq!(
        counts(&format!("import {file} --dry-run")),
        ("2".into(), Value::Null)
    );
    assert_eq!(counts(&format!("import {file}")), ("2".into(), Value::Null));
    assert_eq!(counts(&format!("import {file}")), (Value::Null, "2".into()));
    let changed = text.replace("\"web-0\"", "\"web-1\"");
    let done = other.run_with("import -", &changed, &[]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.err.ends_with("error: 1 item is not imported\n"),
        "{done:?}"
    );
}

#[test]
fn half_an_export_is_no_file() {
    let header = ExportHeader {
        format: 1,
        pools: 1,
        ..ExportHeader::default()
    };
    let server = Canned::of_administration(&[ExportItem {
        item: Some(Item::Header(header)),
    }]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("half.jsonl");
    let done = server.run(&format!("export -f {}", file.display()));
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.err.contains("ended the export before its end"),
        "{done:?}"
    );
    assert!(!file.exists());
}

#[test]
fn a_missing_file_of_an_import_is_named_with_what_to_do() {
    let bench = Bench::new();
    for command in [
        "import /missing/file.jsonl",
        "import whereabouts /missing/file.jsonl",
    ] {
        let error = bench.fails(command, 1);
        let expected = "/missing/file.jsonl cannot be read; name a file that exists: ";
        assert!(error.contains(expected), "{command}: {error}");
    }
}

/// The server takes 1,000 items a message.
#[test]
fn a_long_import_goes_in_batches_and_a_wrong_line_is_named_and_left_out() {
    let bench = Bench::new();
    let pool = |number: u32| {
        let cidr = format!("10.{}.{}.0/24", number / 250, number % 250);
        format!("{{\"pool\":{{\"name\":\"p{number}\",\"ipv4\":{{\"cidr\":\"{cidr}\"}}}}}}\n")
    };
    let lines: String = (0..2500).map(pool).collect();
    let done = bench.json(&format!("import {}", bench.file("many.jsonl", &lines)));
    assert_eq!(done["imported"], "2500");
    let broken = bench.file(
        "broken.jsonl",
        "not json\n{\"pool\":{\"name\":\"new\",\"ipv4\":{\"cidr\":\"172.16.0.0/24\"}}}\n{}\n",
    );
    let done = bench.run(&format!("import {broken} -o json"));
    assert_eq!(done.code, Some(1), "{done:?}");
    let answer = json(&done.out);
    assert_eq!(
        (&answer["imported"], &answer["conflicts"]),
        (&"1".into(), &"2".into()),
        "{answer}"
    );
    for words in [
        "broken.jsonl:1: not a line of an export",
        "broken.jsonl:3: not a line of an export",
        "2 items are not imported",
    ] {
        assert!(done.err.contains(words), "{words}: {done:?}");
    }
    bench.done("pool get new");
    let newer = bench.file(
        "newer.jsonl",
        "{\"header\":{\"format\":9}}\n{\"pool\":{\"name\":\"newer\"}}\n",
    );
    let error = bench.fails(&format!("import {newer}"), 1);
    assert!(
        error.contains("newer.jsonl:1: format 9 is not known"),
        "{error}"
    );
    bench.fails("pool get newer", 3);
}
