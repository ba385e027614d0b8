//! What is written, letter by letter.

use std::sync::{Arc, Mutex};

use super::*;
use crate::listing::Listing;

/// Keeps what is written.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("UTF-8")
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn captured(format: Format, colours: bool) -> (Out, Captured) {
    let captured = Captured::default();
    let out = Out {
        to: Box::new(captured.clone()),
        format,
        colours,
        terminal: false,
    };
    (out, captured)
}

#[derive(Serialize)]
struct Thing {
    name: &'static str,
    state: &'static str,
    note: &'static str,
}

const COLUMNS: &[Column<Thing>] = &[
    Column {
        heading: "NAME",
        wide: false,
        cell: |at, _| at.name.to_owned(),
    },
    Column {
        heading: "STATE",
        wide: false,
        cell: |at, _| at.state.to_owned(),
    },
    Column {
        heading: "NOTE",
        wide: true,
        cell: |at, _| at.note.to_owned(),
    },
];

const THINGS: [Thing; 3] = [
    Thing {
        name: "a-long-name",
        state: "ACTIVE",
        note: "first",
    },
    Thing {
        name: "b",
        state: "CORDONED",
        note: "",
    },
    Thing {
        name: "c",
        state: "ACTIVE",
        note: "third",
    },
];

fn listed(format: Format, colours: bool, pages: &[&[Thing]]) -> String {
    let (mut out, captured) = captured(format, colours);
    let mut listing = Listing::new(&mut out, "things", COLUMNS);
    for page in pages {
        listing.page(page).expect("a page");
    }
    listing.finish().expect("the end");
    captured.text()
}

#[test]
fn a_table_keeps_its_columns_over_pages() {
    assert_eq!(
        listed(Format::Table, false, &[&THINGS[..2], &THINGS[2..]]),
        "NAME          STATE\na-long-name   ACTIVE\nb             CORDONED\nc             ACTIVE\n"
    );
}

#[test]
fn a_wide_table_has_all_columns_and_a_dash_for_nothing() {
    assert_eq!(
        listed(Format::Wide, false, &[&THINGS]),
        "NAME          STATE      NOTE\na-long-name   ACTIVE     first\nb             CORDONED   -\nc             ACTIVE     third\n"
    );
}

#[test]
fn only_states_have_colours_and_only_where_colours_are_wanted() {
    let text = listed(Format::Table, true, &[&THINGS[..1]]);
    assert!(text.contains("\u{1b}[38;5;10mACTIVE"), "{text:?}");
    assert!(!listed(Format::Table, false, &[&THINGS]).contains('\u{1b}'));
}

#[test]
fn a_list_is_one_json_object_however_many_pages_it_has() {
    for (pages, count) in [(&[&THINGS[..1], &THINGS[1..]][..], 3), (&[], 0)] {
        let text = listed(Format::Json, false, pages);
        let value: serde_json::Value = serde_json::from_str(&text).expect(&text);
        assert_eq!(value["things"].as_array().map(Vec::len), Some(count));
    }
}

#[test]
fn a_list_is_one_yaml_document_however_many_pages_it_has() {
    for (pages, count) in [(&[&THINGS[..1], &THINGS[1..]][..], 3), (&[], 0)] {
        let text = listed(Format::Yaml, false, pages);
        let value: serde_json::Value = process::yaml::read(&text).expect(&text);
        assert_eq!(value["things"].as_array().map(Vec::len), Some(count));
    }
}
