//! Files that are no records, or not ones of this version.

use super::*;
use crate::limits::RECORD_BYTES;

#[test]
fn a_record_that_is_cut_anywhere_is_corrupt_and_named() {
    let folder = Folder::new();
    let whole = serde_json::to_vec(&record("c1")).unwrap();
    for length in 0..whole.len() {
        folder.write("c1", &whole[..length]);
        match folder.records.peek("c1") {
            Err(RecordError::Corrupt { path, .. }) => assert_eq!(path, folder.path("c1.json")),
            other => panic!("{length} bytes: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_record_is_corrupt() {
    let folder = Folder::new();
    let mut without_plugins = serde_json::to_value(record("c1")).unwrap();
    without_plugins["attachments"][0]["attachment"]["list"]["plugins"] = json!(7);
    let mut bad_result = serde_json::to_value(record("c1")).unwrap();
    bad_result["attachments"][0]["result"] = json!({"ips": [{"address": "10.0.0.300/24"}]});
    let mut bad_phase = serde_json::to_value(record("c1")).unwrap();
    bad_phase["attachments"][0]["phase"] = json!("lost");
    let cases = [
        ("null", json!(null)),
        ("a list", json!([])),
        ("an empty object", json!({})),
        ("no attachments", json!({"format": 1, "containerId": "c1"})),
        ("plugins that are no list", without_plugins),
        ("a result that is none", bad_result),
        ("an unknown phase", bad_phase),
    ];
    for (name, value) in cases {
        folder.write("c1", value.to_string());
        let found = folder.records.peek("c1");
        assert!(
            matches!(found, Err(RecordError::Corrupt { .. })),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn a_record_of_a_newer_format_is_not_called_corrupt() {
    let folder = Folder::new();
    for (format, shown) in [(u64::from(FORMAT) + 1, FORMAT + 1), (u64::MAX, u32::MAX)] {
        folder.write(
            "c1",
            json!({"format": format, "other": "shape"}).to_string(),
        );
        let error = folder.sandbox("c1").load().unwrap_err();
        assert!(
            matches!(error, RecordError::Newer { format, .. } if format == shown),
            "{error:?}"
        );
        let remedy = error.remedy().unwrap();
        assert!(remedy.contains("use the newer meta-cni"), "{remedy}");
    }
}

#[test]
fn what_is_too_large_is_not_written_and_what_was_written_is_read_and_removed() {
    let folder = Folder::new();
    let sandbox = folder.sandbox("c1");
    let record = |bytes: usize| Record {
        asked: [("k".to_owned(), "a".repeat(bytes))].into(),
        ..Record::planned("c1", "", None, Vec::new())
    };
    sandbox.save_durably(&record(1)).unwrap();
    match sandbox.save_durably(&record(RECORD_BYTES)) {
        Err(RecordError::Write { source, .. }) => {
            assert_eq!(source.kind(), io::ErrorKind::FileTooLarge);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        sandbox.load().unwrap(),
        Some(record(1)),
        "the earlier one stays"
    );
    // An earlier version wrote whatever came.
    let large = record(RECORD_BYTES);
    folder.write("c1", serde_json::to_string(&large).unwrap());
    assert_eq!(sandbox.load().unwrap(), Some(large));
    sandbox.forget().unwrap();
    assert_eq!(folder.records.container_ids().unwrap(), [""; 0]);
}

#[test]
fn a_record_that_cannot_be_read_is_set_aside_under_a_name_of_its_own() {
    let folder = Folder::new();
    let sandbox = folder.sandbox("c1");
    for n in 1..=3 {
        folder.write("c1", format!("broken {n}"));
        let aside = sandbox.set_aside().unwrap();
        assert_eq!(aside, folder.path(&format!("c1.unreadable-{n}")));
        assert_eq!(fs::read_to_string(aside).unwrap(), format!("broken {n}"));
        assert_eq!(sandbox.load().unwrap(), None);
    }
    assert_eq!(folder.records.container_ids().unwrap(), [""; 0]);
}
