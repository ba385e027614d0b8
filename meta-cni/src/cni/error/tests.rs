//! What errors of ours say, and what they never say.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// Words for which containerd takes a DEL that failed for one that succeeded.
const TAKEN_FOR_SUCCESS: [&str; 2] = ["not found", "no such file or directory"];

/// Files that name the words because plugins say them.
const QUOTING: [&str; 2] = ["cni/error.rs", "explain/remedy.rs"];

#[derive(Debug, thiserror::Error)]
#[error("reading /state/c1.json")]
struct Reading(#[source] io::Error);

fn is_taken_for_success(text: &str) -> bool {
    let text = text.to_lowercase();
    TAKEN_FOR_SUCCESS.iter().any(|words| text.contains(words))
}

#[test]
fn no_error_of_the_system_is_taken_for_a_del_that_succeeded() {
    let numbers = (1..134).map(io::Error::from_raw_os_error);
    let all = numbers.chain([io::Error::from(ErrorKind::NotFound)]);
    for error in all {
        for text in [
            with_causes(&Reading(error)),
            with_causes(&io::Error::from_raw_os_error(2)),
        ] {
            assert!(!is_taken_for_success(&text), "{text}");
        }
    }
    let missing = Reading(io::Error::from_raw_os_error(2));
    assert_eq!(
        with_causes(&missing),
        "reading /state/c1.json: No such file or folder (os error 2)"
    );
    let denied = Reading(io::Error::from_raw_os_error(13));
    let text = "reading /state/c1.json: Permission denied (os error 13)";
    assert_eq!(with_causes(&denied), text);
}

#[test]
fn a_cause_that_was_said_already_is_not_said_again() {
    #[derive(Debug, thiserror::Error)]
    #[error("reading /state/c1.json twice")]
    struct Twice(#[source] Reading);
    let error = Twice(Reading(io::Error::other("busy")));
    assert_eq!(with_causes(&error), "reading /state/c1.json twice: busy");
}

#[test]
fn no_text_of_ours_is_taken_for_a_del_that_succeeded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut found) = (Vec::new(), Vec::new());
    sources(&root, &mut files);
    assert!(files.len() > 100, "{}", files.len());
    for file in files {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        if QUOTING.contains(&name.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        // Tests stand at the end.
        let code = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        let lines = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        found.extend(
            lines
                .filter(|line| is_taken_for_success(line))
                .map(|line| format!("{name}: {line}")),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// All sources but those of tests.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if stem == "tests" {
            continue;
        } else if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
}
