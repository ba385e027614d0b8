//! Pools in a file: YAML or JSON, the form of `ipam-server --pools`.

use std::io::Read;
use std::path::Path;

use proto::ipam::v1::Pool;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::error::CliError;

/// Reads the pools of a file; `-` is stdin.
pub(super) async fn read(path: &Path) -> Result<Vec<Pool>, CliError> {
    let owned = path.to_owned();
    let text = tokio::task::spawn_blocking(move || text(&owned)).await;
    let text = text
        .unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
        .map_err(|source| CliError::File {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
    parse(&text).map_err(|problem| CliError::Content {
        place: path.display().to_string(),
        problem,
    })
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
pub(crate) fn parse(text: &str) -> Result<Vec<Pool>, String> {
    let mut pools = Vec::new();
    for document in serde_norway::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|error| error.to_string())?;
        take(value, &mut pools)?;
    }
    match pools.is_empty() {
        true => Err("there is no pool in it; write `pools:` and a list of them".to_owned()),
        false => Ok(pools),
    }
}

fn take(value: Value, pools: &mut Vec<Pool>) -> Result<(), String> {
    let items = match value {
        Value::Null => return Ok(()),
        Value::Array(items) => items,
        Value::Object(mut fields) if fields.len() == 1 && fields.contains_key("pools") => {
            match fields.remove("pools") {
                Some(Value::Array(items)) => items,
                _ => return Err("`pools` must be a list".to_owned()),
            }
        }
        single => vec![single],
    };
    for item in items {
        let at = format!("pool {}", pools.len() + 1);
        let pool = serde_path_to_error::deserialize(item).map_err(|error| {
            let path = error.path().to_string();
            match path.as_str() {
                "." => format!("{at}: {}", error.inner()),
                path => format!("{at}: {path}: {}", error.inner()),
            }
        })?;
        pools.push(pool);
    }
    Ok(())
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
            let names: Vec<_> = pools.iter().map(|pool| pool.name.as_str()).collect();
            assert_eq!(names, ["a", "b"], "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, part) in [
            ("", "there is no pool in it"),
            ("pools: 3", "`pools` must be a list"),
            ("- name: a\n- nmae: b", "pool 2"),
            ("- name: a\n  quarantine: soon", "pool 1: quarantine"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s)[-a-z0-9:{}\\[\\], \n\"./]{0,120}") {
            let _ = parse(&text);
        }
    }
}
