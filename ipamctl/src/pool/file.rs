//! Pools in a file: YAML or JSON, the form of `ipam-server --pools`.

use std::io::Read;
use std::path::{Path, PathBuf};

use proto::ipam::v1::Pool;
use serde_json::Value;

use crate::error::CliError;
use crate::refusal::Refusal;
use process::yaml;

/// The pools of a file, and where each of them stands.
pub(super) struct PoolFile {
    path: PathBuf,
    text: String,
    pools: Vec<Entry>,
}

/// A pool of a text.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The pool.
    pub(crate) pool: Pool,
    /// Its document, from 0, and its path in that.
    place: (usize, String),
}

impl PoolFile {
    /// The pools, in the order of the file.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.iter().map(|entry| &entry.pool)
    }

    /// The error of a pool, by its index, that a server refused, with the line of the field that the server names.
    pub(super) fn refused(&self, index: usize, refusal: Refusal) -> CliError {
        let field = refusal.field().unwrap_or_default();
        let field = field.strip_prefix("pool.").unwrap_or_default();
        let line = self.pools.get(index).and_then(|entry| {
            let (document, path) = &entry.place;
            line(&self.text, *document, &format!("{path}.{field}"))
        });
        let name = self.pools.get(index).map(|entry| entry.pool.name.as_str());
        CliError::RefusedIn {
            place: format!(
                "{}: pool {}",
                place(&self.path, line),
                name.unwrap_or_default()
            ),
            refusal,
        }
    }
}

fn line(text: &str, document: usize, path: &str) -> Option<usize> {
    yaml::position(text, document, path).map(|position| position.line)
}

fn place(path: &Path, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{}:{line}", path.display()),
        None => path.display().to_string(),
    }
}

/// Reads the pools of a file; `-` is stdin.
pub(super) async fn read(path: &Path) -> Result<PoolFile, CliError> {
    let owned = path.to_owned();
    let text = tokio::task::spawn_blocking(move || text(&owned)).await;
    let text = text
        .unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
        .map_err(|source| CliError::File {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
    match parse(&text) {
        Ok(pools) => Ok(PoolFile {
            path: path.to_owned(),
            text,
            pools,
        }),
        Err(wrong) => Err(wrong.in_file(path)),
    }
}

/// What is wrong with a text.
#[derive(Debug)]
pub(crate) struct Wrong {
    line: Option<usize>,
    problem: String,
}

impl Wrong {
    fn somewhere(problem: impl Into<String>) -> Wrong {
        Wrong {
            line: None,
            problem: problem.into(),
        }
    }

    /// The error, with its place.
    pub(crate) fn in_file(self, path: &Path) -> CliError {
        CliError::Content {
            place: place(path, self.line),
            problem: self.problem,
        }
    }
}

fn text(path: &Path) -> std::io::Result<String> {
    if path != Path::new("-") {
        return std::fs::read_to_string(path);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Reads `pools: […]`, a list of pools, or single pools as documents.
pub(crate) fn parse(text: &str) -> Result<Vec<Entry>, Wrong> {
    let mut pools = Vec::new();
    for (number, document) in yaml::documents(text).into_iter().enumerate() {
        let value = document.map_err(|error| Wrong {
            line: error.position.map(|position| position.line),
            problem: error.problem,
        })?;
        for (path, item) in items(value)? {
            let at = format!("pool {}", pools.len() + 1);
            let pool = serde_path_to_error::deserialize(item).map_err(|error| {
                let field = error.path().to_string();
                let problem = yaml::short(error.inner());
                Wrong {
                    line: line(text, number, &format!("{path}.{field}")),
                    problem: match field.as_str() {
                        "." => format!("{at}: {problem}"),
                        field => format!("{at}: {field}: {problem}"),
                    },
                }
            })?;
            let place = (number, path);
            pools.push(Entry { pool, place });
        }
    }
    match pools.is_empty() {
        true => Err(Wrong::somewhere(
            "there is no pool in it; write `pools:` and a list of them",
        )),
        false => Ok(pools),
    }
}

/// The pools of a document, each with its path.
fn items(document: Value) -> Result<Vec<(String, Value)>, Wrong> {
    let (list, items) = match document {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => ("", items),
        Value::Object(mut fields) if fields.len() == 1 && fields.contains_key("pools") => {
            match fields.remove("pools") {
                Some(Value::Array(items)) => ("pools", items),
                _ => return Err(Wrong::somewhere("`pools` must be a list")),
            }
        }
        single => return Ok(vec![(String::new(), single)]),
    };
    let items = items.into_iter().enumerate();
    Ok(items
        .map(|(index, item)| (format!("{list}[{index}]"), item))
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_may_be_a_list_a_key_or_documents() {
        for text in [
            "pools:\n- name: a\n- name: b\n",
            "- name: a\n- name: b\n",
            "name: a\n---\nname: b\n",
            r#"{"pools":[{"name":"a"},{"name":"b"}]}"#,
        ] {
            let pools = parse(text).expect(text);
            let names: Vec<_> = pools.iter().map(|entry| entry.pool.name.as_str()).collect();
            assert_eq!(names, ["a", "b"], "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, expected) in [
            (
                "",
                "p.yaml: there is no pool in it; write `pools:` and a list of them",
            ),
            ("pools: 3", "p.yaml: `pools` must be a list"),
            (
                "- name: a\n- nmae: b",
                "p.yaml:2: pool 2: nmae: unknown field `nmae`",
            ),
            (
                "name: a\n---\nname: b\nfoo: c",
                "p.yaml:4: pool 2: foo: unknown field `foo`",
            ),
            (
                "pools:\n- name: a\n  ipv4:\n    gatway: x",
                "p.yaml:4: pool 1: ipv4.gatway: unknown field `gatway`",
            ),
        ] {
            let error = parse(text).expect_err(text).in_file(Path::new("p.yaml"));
            assert_eq!(error.to_string(), expected, "{text}");
        }
        let error = parse("- name: a\n  quarantine: soon").expect_err("no duration");
        assert!(
            error.problem.starts_with("pool 1: quarantine: "),
            "{error:?}"
        );
        assert_eq!(error.line, Some(2));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s)[-a-z0-9:{}\\[\\], \n\"./]{0,120}") {
            let _ = parse(&text);
        }
    }
}
