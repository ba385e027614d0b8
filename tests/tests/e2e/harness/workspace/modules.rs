//! Inside a crate, too, imports go one way: its top-level modules import one another in no circle. Read from the sources, without
//! their tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::harness::workspace::metadata::root;

/// The crates whose modules are read.
const CRATES: [&str; 7] = [
    "crates/cni",
    "crates/ipam-core",
    "crates/netlink",
    "ipam-server",
    "meta-cni",
    "meta-cnid",
    "tests",
];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// What the modules of the crate whose sources are in `folder` import of one another.
fn modules(folder: &Path) -> Graph {
    let mut graph = Graph::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !["lib", "main", "bin"].contains(&stem.as_str()) {
            read(&path, graph.entry(stem).or_default());
        }
    }
    let names: BTreeSet<String> = graph.keys().cloned().collect();
    for (name, imported) in &mut graph {
        imported.retain(|one| one != name && names.contains(one));
    }
    graph
}

/// Adds the modules that a file, or all files of a folder, import.
fn read(path: &Path, imported: &mut BTreeSet<String>) {
    if path.file_stem().is_some_and(|stem| stem == "tests") {
        return;
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            read(&entry.unwrap().path(), imported);
        }
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    // Tests stand at the end.
    let ends =
        ["", "pub(crate) ", "pub(super) "].map(|seen| format!("#[cfg(test)]\n{seen}mod tests"));
    let end = ends.iter().filter_map(|end| text.find(end)).min();
    imported.extend(named(&text[..end.unwrap_or(text.len())]));
}

/// The modules that `crate::` stands before in `code`, one by one or in braces.
fn named(code: &str) -> BTreeSet<String> {
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let word = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        text[..end.unwrap_or(text.len())].to_owned()
    };
    let mut named = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((list, _)) => named.extend(list.split(',').map(|one| word(one.trim()))),
            None => {
                named.insert(word(rest));
            }
        }
    }
    named
}

/// A circle of modules, if there is one.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    let mut left = graph.clone();
    loop {
        let ends: Vec<String> = left
            .iter()
            .filter(|(_, imported)| imported.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        if ends.is_empty() {
            let circle: Vec<String> = left.into_keys().collect();
            return (!circle.is_empty()).then_some(circle);
        }
        left.retain(|name, _| !ends.contains(name));
        for imported in left.values_mut() {
            imported.retain(|one| !ends.contains(one));
        }
    }
}

#[test]
fn the_modules_of_a_crate_import_one_another_in_no_circle() {
    for one in CRATES {
        let graph = modules(&root().join(one).join("src"));
        assert!(graph.len() >= 4, "{one}: {graph:?}");
        assert_eq!(
            circle(&graph),
            None,
            "{one}: all modules in or above a circle"
        );
    }
}

#[test]
fn a_circle_is_found_in_every_form_of_an_import() {
    let code = "use crate::a::{X, y};\n// crate::no\nuse crate::{b, c::D};\nlet e = crate::e::f();";
    let expected = ["a", "b", "c", "e"].map(str::to_owned);
    assert_eq!(named(code), expected.into());
    let graph = |edges: &[(&str, &[&str])]| -> Graph {
        let edge = |(name, to): &(&str, &[&str])| {
            let to = to.iter().map(|one| (*one).to_owned());
            ((*name).to_owned(), to.collect())
        };
        edges.iter().map(edge).collect()
    };
    let line = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &[])]);
    assert_eq!(circle(&line), None);
    let around = graph(&[("a", &["b"]), ("b", &["a", "c"]), ("c", &[])]);
    assert_eq!(circle(&around), Some(vec!["a".to_owned(), "b".to_owned()]));
}
