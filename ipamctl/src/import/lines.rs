//! The lines of an export.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use proto::ipam::v1::ExportItem;
use proto::ipam::v1::export_item::Item;

use crate::error::CliError;

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
    let mut lines = reader.lines().enumerate();
    let mut is_empty = true;
    std::iter::from_fn(move || {
        for (index, line) in lines.by_ref() {
            is_empty &= line.as_ref().is_ok_and(|line| line.trim().is_empty());
            if let Some(found) = one(&path, index + 1, line) {
                return Some(found);
            }
        }
        std::mem::take(&mut is_empty).then(|| {
            Err(CliError::Content {
                place: path.display().to_string(),
                problem: "it is empty; an export has a header at least".to_owned(),
            })
        })
    })
}

/// The item of a line, if it holds one.
fn one(
    path: &Path,
    number: usize,
    line: std::io::Result<String>,
) -> Option<Result<ExportItem, CliError>> {
    let found = match line {
        Ok(line) => item(&line),
        Err(source) if source.kind() == ErrorKind::InvalidData => {
            Err(Wrong::Line(format!("not a line of an export: {source}")))
        }
        Err(source) => {
            return Some(Err(CliError::File {
                doing: "read",
                path: path.to_owned(),
                source,
            }));
        }
    };
    let place = || format!("{}:{number}", path.display());
    match found {
        Ok(item) => item.map(Ok),
        Err(Wrong::Line(problem)) => Some(Err(CliError::Content {
            place: place(),
            problem,
        })),
        Err(Wrong::Format(format)) => Some(Err(CliError::UnknownFormat {
            place: place(),
            format,
        })),
    }
}

/// A line that is no item.
#[derive(Debug)]
enum Wrong {
    /// It makes no sense; those after it may.
    Line(String),
    /// A header of a format that this program does not know: nor does it know the lines after it.
    Format(u32),
}

/// The item of a line; none for an empty line and for the header.
fn item(line: &str) -> Result<Option<ExportItem>, Wrong> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let item: ExportItem = serde_json::from_str(line)
        .map_err(|error| Wrong::Line(format!("not a line of an export: {error}")))?;
    match &item.item {
        Some(Item::Header(header)) if header.format == FORMAT => Ok(None),
        Some(Item::Header(header)) => Err(Wrong::Format(header.format)),
        Some(_) => Ok(Some(item)),
        None => Err(Wrong::Line(
            "not a line of an export: it holds nothing".to_owned(),
        )),
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
        assert!(matches!(
            item(r#"{"header":{"format":2}}"#),
            Err(Wrong::Format(2))
        ));
        for (line, part) in [("{}", "holds nothing"), ("pool", "not a line of an export")] {
            let wrong = item(line).expect_err(line);
            assert!(
                matches!(&wrong, Wrong::Line(problem) if problem.contains(part)),
                "{line}: {wrong:?}"
            );
        }
    }

    #[test]
    fn a_wrong_line_is_reported_by_its_number_and_the_next_one_is_read() {
        let text =
            &b"{\"pool\":{\"name\":\"a\"}}\n\n{\"pool\":\n\xff\n{\"pool\":{\"name\":\"b\"}}\n"[..];
        let all: Vec<_> = items(text, PathBuf::from("x.jsonl")).collect();
        assert_eq!(all.len(), 4);
        for (index, place) in [(1, "x.jsonl:3: "), (2, "x.jsonl:4: ")] {
            let error = all[index].as_ref().expect_err("wrong");
            assert!(matches!(error, CliError::Content { .. }), "{error:?}");
            assert!(error.to_string().starts_with(place), "{error}");
        }
        assert!(all[3].is_ok());
    }

    proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(line in ".{0,100}") {
            let _ = item(&line);
        }
    }

    #[test]
    fn an_empty_file_is_no_export_and_one_with_a_header_is() {
        let path = || PathBuf::from("backup.jsonl");
        let header = "{\"header\":{\"format\":1}}\n";
        for (content, expected) in [
            ("", Some("backup.jsonl")),
            (" \n\n", Some("backup.jsonl")),
            (header, None),
        ] {
            let mut found = items(content.as_bytes(), path());
            let place = found.next().map(|item| match item {
                Err(CliError::Content { place, .. }) => place,
                other => panic!("{other:?}"),
            });
            assert_eq!(place.as_deref(), expected, "{content:?}");
            assert!(found.next().is_none());
        }
    }
}
