//! What cargo says of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What each crate of the workspace imports of the others, by name.
pub(crate) type Imports = BTreeMap<String, BTreeSet<String>>;

/// Which imports count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Those of what is built for users.
    Product,
    /// Those of tests as well.
    Tests,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The output of a cargo command in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What the crates of this workspace import of one another.
pub(crate) fn imports(of: Of) -> Imports {
    let text = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    read(&serde_json::from_str(&text).unwrap(), of)
}

/// The same, from what `cargo metadata --no-deps` writes.
pub(crate) fn read(metadata: &Value, of: Of) -> Imports {
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let imports = packages.iter().map(|package| {
        let all = package["dependencies"].as_array().unwrap().iter();
        let own = all.filter(|one| one["path"].is_string());
        let counted = own.filter(|one| of == Of::Tests || one["kind"] != "dev");
        (name(package), counted.map(name).collect())
    });
    imports.collect()
}
