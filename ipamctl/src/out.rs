//! stdout: tables for people, JSON and YAML for programs. Nothing else of this program writes there.

mod table;

use std::io::{self, BufWriter, IsTerminal, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::error::CliError;
use process::text;
pub(crate) use table::Column;
pub(crate) use table::Table;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table.
    Table,
    /// A table with more columns.
    Wide,
    /// The JSON form of the protobuf messages.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Where results go.
pub(crate) struct Out {
    to: Box<dyn Write + Send>,
    format: Format,
    colours: bool,
    terminal: bool,
}

impl Out {
    /// This process's stdout. Colours only on a terminal, and not with NO_COLOR (no-color.org).
    pub(crate) fn stdout(format: Format) -> Out {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Out {
            terminal,
            colours: terminal && wanted,
            to: Box::new(BufWriter::new(stdout)),
            format,
        }
    }

    /// How results are to be written.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Whether a program reads them.
    pub(crate) fn is_for_programs(&self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml)
    }

    /// Whether results go to a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether they may have colours.
    pub(crate) fn has_colours(&self) -> bool {
        self.colours
    }

    /// One thing: a table with one row, or its own JSON or YAML.
    pub(crate) fn one<T: Serialize>(
        &mut self,
        columns: &[Column<T>],
        value: &T,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Table | Format::Wide => {
                let mut table = self.table(columns);
                let text = table.page(&[value], Timestamp::now());
                self.text(&text)
            }
            Format::Json | Format::Yaml => self.value(value),
        }
    }

    /// JSON or YAML of anything.
    pub(crate) fn value<T: Serialize>(&mut self, value: &T) -> Result<(), CliError> {
        let value = serde_json::to_value(value).map_err(CliError::Encode)?;
        match self.format {
            Format::Yaml => self.text(&yaml(&value)?),
            _ => {
                let text = serde_json::to_string_pretty(&value).map_err(CliError::Encode)?;
                self.text(&text)?;
                self.text("\n")
            }
        }
    }

    /// One object of an endless sequence: a line of JSON, or a YAML document.
    pub(crate) fn item<T: Serialize>(&mut self, value: &T) -> Result<(), CliError> {
        let value = serde_json::to_value(value).map_err(CliError::Encode)?;
        match self.format {
            Format::Yaml => {
                let text = format!("---\n{}", yaml(&value)?);
                self.text(&text)
            }
            _ => self.text(&format!("{value}\n")),
        }
    }

    /// Anything else.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), CliError> {
        // A table has its cells made plain already, and colours.
        let text = match self.is_for_programs() {
            true => text::in_json(text),
            false => text.into(),
        };
        self.to.write_all(text.as_bytes()).map_err(CliError::Output)
    }

    /// Hands everything on.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        self.to.flush().map_err(CliError::Output)
    }

    /// An empty table with the columns of the chosen format.
    pub(crate) fn table<'c, T>(&self, columns: &'c [Column<T>]) -> Table<'c, T> {
        Table::new(columns, self.format == Format::Wide, self.colours)
    }
}

/// YAML of a JSON value.
pub(crate) fn yaml(value: &serde_json::Value) -> Result<String, CliError> {
    process::yaml::write(value).map_err(|error| CliError::Encode(serde::ser::Error::custom(error)))
}

#[cfg(test)]
pub(crate) mod tests;
