//! A list that is written as its pages come: a table, or `{"KEY": […]}` as JSON or YAML.

use jiff::Timestamp;
use serde::Serialize;

use crate::error::CliError;
use crate::note::note;
use crate::out::{Column, Format, Out, Table, yaml};

/// A list under way.
pub(crate) struct Listing<'a, T> {
    out: &'a mut Out,
    key: &'static str,
    table: Table<'a, T>,
    count: usize,
}

impl<'a, T: Serialize> Listing<'a, T> {
    /// Begins a list of `key`, the plural that `ipam.v1` uses.
    pub(crate) fn new(
        out: &'a mut Out,
        key: &'static str,
        columns: &'a [Column<T>],
    ) -> Listing<'a, T> {
        Listing {
            table: out.table(columns),
            out,
            key,
            count: 0,
        }
    }

    /// How many were written.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Writes the next ones.
    pub(crate) fn page(&mut self, items: &[T]) -> Result<(), CliError> {
        if items.is_empty() {
            return Ok(());
        }
        let text = match self.out.format() {
            Format::Table | Format::Wide => {
                let rows: Vec<_> = items.iter().collect();
                self.table.page(&rows, Timestamp::now())
            }
            Format::Json => self.json(items)?,
            Format::Yaml => self.yaml(items)?,
        };
        self.count += items.len();
        self.out.text(&text)?;
        // The next page may take long: the rows so far are shown.
        self.out.flush()
    }

    /// Ends the list. For people an empty one is a sentence on stderr.
    pub(crate) fn finish(self) -> Result<usize, CliError> {
        match (self.out.format(), self.count) {
            (Format::Json, 0) => self.out.text(&format!("{{\"{}\":[]}}\n", self.key))?,
            (Format::Json, _) => self.out.text("\n]}\n")?,
            (Format::Yaml, 0) => self.out.text(&format!("{}: []\n", self.key))?,
            (Format::Table | Format::Wide, 0) => note(&format!("no {} found", self.key)),
            _ => {}
        }
        Ok(self.count)
    }

    fn json(&self, items: &[T]) -> Result<String, CliError> {
        let mut text = String::new();
        for (index, item) in items.iter().enumerate() {
            match self.count + index {
                0 => text.push_str(&format!("{{\"{}\":[\n", self.key)),
                _ => text.push_str(",\n"),
            }
            text.push_str(&serde_json::to_string(item).map_err(CliError::Encode)?);
        }
        Ok(text)
    }

    fn yaml(&self, items: &[T]) -> Result<String, CliError> {
        let items = serde_json::to_value(items).map_err(CliError::Encode)?;
        let begin = match self.count {
            0 => format!("{}:\n", self.key),
            _ => String::new(),
        };
        Ok(begin + &yaml(&items)?)
    }
}
