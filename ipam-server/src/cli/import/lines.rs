//! The lines of an export.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use proto::ipam::v1::ExportItem;
use proto::ipam::v1::export_item::Item;

use crate::cli::error::CliError;

/// The only format there is yet.
const FORMAT: u32 = 1;

/// Opens a file, or stdin for `-`; items are read as they are taken.
pub(super) fn open(
    path: PathBuf,
) -> Result<impl Iterator<Item = Result<ExportItem, CliError>> + Send + 'static, CliError> {
    let reader: Box<dyn Read + Send> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(&path).map_err(|source| CliError::File {
            doing: "read",
            path: path.clone(),
            source,
        })?)
    };
    Ok(items(BufReader::new(reader), path))
}

fn items(
    reader: impl BufRead + Send + 'static,
    path: PathBuf,
) -> impl Iterator<Item = Result<ExportItem, CliError>> + Send + 'static {
    reader.lines().enumerate().filter_map(move |(index, line)| {
        let line = match line {
            Ok(line) => line,
            Err(source) => {
                let path = path.clone();
                return Some(Err(CliError::File {
                    doing: "read",
                    path,
                    source,
                }));
            }
        };
        item(&line).transpose().map(|found| {
            found.map_err(|problem| CliError::Content {
                place: format!("{}:{}", path.display(), index + 1),
                problem,
            })
        })
    })
}

/// The item of a line; none for an empty line and for the header.
fn item(line: &str) -> Result<Option<ExportItem>, String> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let item: ExportItem =
        serde_json::from_str(line).map_err(|error| format!("not a line of an export: {error}"))?;
    match &item.item {
        Some(Item::Header(header)) if header.format == FORMAT => Ok(None),
        Some(Item::Header(header)) => Err(format!(
            "format {} is not known, this program reads {FORMAT}; use a newer one",
            header.format
        )),
        Some(_) => Ok(Some(item)),
        None => Err("not a line of an export: it holds nothing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_an_item_and_the_header_is_looked_at_only() {
        assert_eq!(item("").expect("empty"), None);
        assert_eq!(
            item(r#"{"header":{"format":1,"pools":"1"}}"#).expect("known"),
            None
        );
        let pool = item(r#"{"pool":{"name":"blue"}}"#)
            .expect("a pool")
            .expect("an item");
        assert!(matches!(pool.item, Some(Item::Pool(pool)) if pool.name == "blue"));
        for (line, part) in [
            (r#"{"header":{"format":2}}"#, "format 2 is not known"),
            ("{}", "holds nothing"),
            ("pool", "not a line of an export"),
        ] {
            assert!(item(line).expect_err(line).contains(part), "{line}");
        }
    }

    #[test]
    fn a_wrong_line_is_told_by_its_number() {
        let text = &b"{\"pool\":{\"name\":\"a\"}}\n\n{\"pool\":\n"[..];
        let all: Vec<_> = items(text, PathBuf::from("x.jsonl")).collect();
        assert_eq!(all.len(), 2);
        let error = all[1].as_ref().expect_err("cut").to_string();
        assert!(error.starts_with("x.jsonl:3: "), "{error}");
    }

    proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(line in ".{0,100}") {
            let _ = item(&line);
        }
    }
}
