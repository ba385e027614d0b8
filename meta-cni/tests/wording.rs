//! What no error of this project says: words for which containerd takes a DEL that failed for one that succeeded (go-cni,
//! `Remove`). Errors of the system are put in other words by `cni::error::said`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const TAKEN_FOR_SUCCESS: [&str; 2] = ["not found", "no such file or directory"];

/// Folders of sources whose texts a CNI plugin prints, from the repository's root.
const FOLDERS: [&str; 4] = [
    "crates/cni/src",
    "crates/netlink/src",
    "meta-cni/src",
    "meta-cnid/src",
];

/// Files that have the words because plugins say them.
const QUOTING: [&str; 1] = ["meta-cni/src/diagnosis/foreign.rs"];

#[test]
fn no_text_is_taken_for_a_del_that_succeeded() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut files, mut found) = (Vec::new(), Vec::new());
    for folder in FOLDERS {
        let before = files.len();
        sources(&root.join(folder), &mut files)?;
        assert!(files.len() > before + 2, "no sources in {folder}");
    }
    for file in files {
        let name = file
            .strip_prefix(&root)
            .unwrap_or(&file)
            .display()
            .to_string();
        if QUOTING.contains(&name.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&file)?;
        // Tests stand at the end.
        let code = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        let lines = code.lines().filter(|line| {
            let is_comment = line.trim_start().starts_with("//");
            let line = line.to_lowercase();
            !is_comment && TAKEN_FOR_SUCCESS.iter().any(|words| line.contains(words))
        });
        found.extend(lines.map(|line| format!("{name}: {line}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

/// All sources but those of tests.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        } else if path.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
