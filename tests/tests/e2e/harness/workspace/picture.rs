//! The picture of the crates in ARCHITECTURE.md is the one that `cargo metadata` gives. `make architecture` writes it.

use std::env;
use std::fmt::Write as _;
use std::fs;

use crate::harness::workspace::metadata::{Imports, Of, imports, root};

const BEGIN: &str = "<!-- crates: written by `make architecture` -->\n";
const END: &str = "<!-- crates: end -->\n";
/// Set, the test writes what it would else compare.
const WRITE: &str = "WRITE_ARCHITECTURE";

/// The crates as a graph in mermaid's language, without arrows that follow from others.
fn picture(imports: &Imports) -> String {
    let mut text = "```mermaid\ngraph TD\n".to_owned();
    for (name, imported) in imports {
        for one in imported {
            let follows = imported
                .iter()
                .any(|other| other != one && reaches(imports, other, one));
            if !follows {
                writeln!(text, "  {name} --> {one}").unwrap();
            }
        }
        let is_imported = imports.values().any(|imported| imported.contains(name));
        if imported.is_empty() && !is_imported {
            writeln!(text, "  {name}").unwrap();
        }
    }
    text + "```\n"
}

fn reaches(imports: &Imports, from: &str, to: &str) -> bool {
    imports.get(from).is_some_and(|imported| {
        imported.contains(to) || imported.iter().any(|one| reaches(imports, one, to))
    })
}

#[test]
fn the_picture_in_the_architecture_is_what_cargo_says() {
    let path = root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the mark before the picture");
    let (written, after) = rest.split_once(END).expect("the mark behind the picture");
    let mut imports = imports(Of::Product);
    // Targets of a fuzzer and the writer of the reference pages may import everything.
    imports.remove("fuzz");
    imports.remove("reference");
    let picture = picture(&imports);
    if env::var_os(WRITE).is_some() {
        fs::write(&path, format!("{before}{BEGIN}{picture}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(written, picture, "run `make architecture`");
}

#[test]
fn an_arrow_that_follows_from_others_is_left_out() {
    let imports = Imports::from([
        ("a".to_owned(), ["b", "c"].map(str::to_owned).into()),
        ("b".to_owned(), ["c".to_owned()].into()),
        ("c".to_owned(), [].into()),
        ("d".to_owned(), [].into()),
    ]);
    let expected = "```mermaid\ngraph TD\n  a --> b\n  b --> c\n  d\n```\n";
    assert_eq!(picture(&imports), expected);
}
