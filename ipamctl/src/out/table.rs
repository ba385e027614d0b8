//! Tables as kubectl shows them: upper-case headings, no lines, columns that stay where they are from page to
//! page.

use comfy_table::{Cell, Color, ColumnConstraint, Width};
use jiff::Timestamp;

use process::text;

/// Between two columns.
const GAP: u16 = 3;

/// A column of a table.
pub(crate) struct Column<T> {
    /// Upper case.
    pub(crate) heading: &'static str,
    /// Shown with `-o wide` only.
    pub(crate) wide: bool,
    /// Its cell for a row, as of a time.
    pub(crate) cell: fn(&T, Timestamp) -> String,
}

/// A table that is written page by page.
pub(crate) struct Table<'c, T> {
    columns: Vec<&'c Column<T>>,
    widths: Vec<u16>,
    colours: bool,
    begun: bool,
}

impl<'c, T> Table<'c, T> {
    /// With or without the wide columns.
    pub(super) fn new(columns: &'c [Column<T>], wide: bool, colours: bool) -> Table<'c, T> {
        let columns: Vec<_> = columns.iter().filter(|at| wide || !at.wide).collect();
        Table {
            widths: vec![0; columns.len()],
            columns,
            colours,
            begun: false,
        }
    }

    /// The text of the next rows; headings come before the first ones.
    pub(crate) fn page(&mut self, rows: &[&T], now: Timestamp) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        match self.colours {
            true => table.enforce_styling(),
            false => table.force_no_tty(),
        };
        if !self.begun {
            table.set_header(self.columns.iter().map(|column| Cell::new(column.heading)));
            self.begun = true;
        }
        for row in rows {
            table.add_row(
                self.columns
                    .iter()
                    .map(|column| self.cell(column, row, now)),
            );
        }
        self.widen(&table);
        for (column, width) in table.column_iter_mut().zip(&self.widths) {
            column.set_padding((0, GAP));
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + GAP)));
        }
        table
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }

    fn widen(&mut self, table: &comfy_table::Table) {
        let needed = table.column_max_content_widths();
        for (width, needed) in self.widths.iter_mut().zip(needed) {
            *width = needed.max(*width);
        }
    }

    fn cell(&self, column: &Column<T>, row: &T, now: Timestamp) -> Cell {
        let text = text::shown(&(column.cell)(row, now)).into_owned();
        let colour = match column.heading {
            "STATE" | "TYPE" if self.colours => colour(&text),
            _ => None,
        };
        let shown = if text.is_empty() { "-" } else { &text };
        match colour {
            Some(colour) => Cell::new(shown).fg(colour),
            None => Cell::new(shown),
        }
    }
}

fn colour(text: &str) -> Option<Color> {
    match text {
        "ACTIVE" | "CREATED" => Some(Color::Green),
        "CORDONED" | "QUARANTINED" | "RELEASED" | "EXPIRED" => Some(Color::Yellow),
        "EXHAUSTED" | "CUT_SHORT" | "RECLAIMED" | "DELETED" => Some(Color::Red),
        _ => None,
    }
}
