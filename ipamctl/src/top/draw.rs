//! The screen, drawn from values: other modules poll the server.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row as Cells, Table};

use super::snapshot::{Row, Snapshot, Sort, count};

/// Cells of a usage bar.
const BAR: usize = 30;

/// What the screen shows.
pub(super) struct View<'v> {
    pub(super) headline: String,
    pub(super) rows: &'v [Row],
    pub(super) sort: Sort,
    pub(super) reverse: bool,
    /// Rows above the visible ones.
    pub(super) offset: usize,
    /// What went wrong at the last poll.
    pub(super) problem: Option<&'v str>,
    pub(super) colours: bool,
}

/// The server in one line.
pub(super) fn headline(now: &Snapshot, before: Option<&Snapshot>) -> String {
    let server = &now.server;
    let rate = before
        .and_then(|before| now.changes_per_second(before))
        .map(|rate| format!("  {rate:.1} changes/s"))
        .unwrap_or_default();
    let state = if server.writable {
        ""
    } else {
        "  NOT WRITABLE"
    };
    format!(
        "ipam-server {}  {}  {} pools  {} leases  revision {}{rate}{state}",
        server.version,
        server.store,
        now.pools.len(),
        server.leases,
        server.revision
    )
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>) {
    let [head, legend, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Line::styled(view.headline.as_str(), bold), head);
    frame.render_widget(Paragraph::new(legend_line(view.colours)), legend);
    let names = view.rows.iter().map(|row| name(row).chars().count());
    let longest = u16::try_from(names.max().unwrap_or(0).max(12)).unwrap_or(u16::MAX);
    let rows = view
        .rows
        .iter()
        .skip(view.offset)
        .map(|row| cells(row, view.colours));
    let widths = [
        Constraint::Length(longest),
        Constraint::Length(4),
        Constraint::Length(BAR as u16),
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
    ];
    let heading = Cells::new(["POOL", "", "USE", "USED", "LEASED", "FREE", "LEASES/S"]).style(bold);
    frame.render_widget(
        Table::new(rows, widths).header(heading).column_spacing(2),
        body,
    );
    frame.render_widget(Line::from(foot_line(view)), foot);
}

fn foot_line(view: &View<'_>) -> String {
    if let Some(problem) = view.problem {
        return format!("{problem} (q quits)");
    }
    let by = match view.sort {
        Sort::Name => "name",
        Sort::Used => "use",
        Sort::Free => "free",
    };
    let turned = if view.reverse { ", reversed" } else { "" };
    format!("sorted by {by}{turned}   n name  u use  f free  r reverse  ↑↓ scroll  q quit")
}

/// The parts of a bar: sign and colour of each.
const PARTS: [(&str, &str, Color); 4] = [
    ("█", "leased", Color::Green),
    ("▓", "reserved", Color::Blue),
    ("▒", "quarantined", Color::Yellow),
    ("·", "free", Color::DarkGray),
];

fn legend_line(colours: bool) -> Line<'static> {
    let spans = PARTS.iter().flat_map(|(sign, name, colour)| {
        [
            part(sign, 1, *colour, colours),
            Span::raw(format!(" {name}   ")),
        ]
    });
    Line::from_iter(spans)
}

fn part(sign: &str, times: usize, colour: Color, colours: bool) -> Span<'static> {
    let text = sign.repeat(times);
    match colours {
        true => Span::styled(text, Style::new().fg(colour)),
        false => Span::raw(text),
    }
}

fn name(row: &Row) -> String {
    match row.cordoned {
        true => format!("{} (cordoned)", row.pool),
        false => row.pool.clone(),
    }
}

fn cells(row: &Row, colours: bool) -> Cells<'static> {
    let rate = row
        .per_second
        .map(|rate| format!("{rate:+.1}"))
        .unwrap_or_default();
    Cells::new([
        Line::from(name(row)),
        Line::from(row.family),
        bar(row, colours),
        Line::from(format!("{:.1}%", row.used() * 100.0)),
        Line::from(count(row.counts.leased)),
        Line::from(count(row.counts.free)),
        Line::from(rate),
    ])
}

fn bar(row: &Row, colours: bool) -> Line<'static> {
    let full = row.counts.free == 0;
    let spans = PARTS
        .iter()
        .zip(lengths(row))
        .map(|((sign, _, colour), length)| {
            let colour = if full && *colour == Color::Green {
                Color::Red
            } else {
                *colour
            };
            part(sign, length, colour, colours)
        });
    Line::from_iter(spans)
}

/// Cells for leased, reserved, quarantined and free; a count above 0 has one cell at least.
fn lengths(row: &Row) -> [usize; 4] {
    let counts = &row.counts;
    let mut left = BAR;
    let used = [counts.leased, counts.reserved, counts.quarantined].map(|part| {
        let share = (counts.share(part) * BAR as f64).round() as usize;
        let cells = share.max(usize::from(part > 0)).min(left);
        left -= cells;
        cells
    });
    [used[0], used[1], used[2], left]
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::pool::Counts;
    use crate::top::snapshot::sort;

    fn row(pool: &str, leased: u128, quarantined: u128) -> Row {
        Row {
            pool: pool.to_owned(),
            family: "IPv4",
            cordoned: false,
            counts: Counts {
                capacity: 100,
                leased,
                reserved: 0,
                quarantined,
                free: 100 - leased - quarantined,
            },
            per_second: Some(1.25),
        }
    }

    #[test]
    fn the_screen_shows_a_bar_for_each_family() {
        let mut terminal = Terminal::new(TestBackend::new(100, 7)).expect("a terminal");
        let rows = [row("blue", 50, 10), row("red", 100, 0)];
        let view = View {
            headline: "ipam-server".to_owned(),
            rows: &rows,
            sort: Sort::Used,
            reverse: false,
            offset: 0,
            problem: None,
            colours: false,
        };
        terminal.draw(|frame| draw(frame, &view)).expect("drawn");
        let shown: Vec<String> = terminal
            .backend()
            .buffer()
            .content
            .chunks(100)
            .map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>())
            .collect();
        assert!(shown[4].starts_with("blue"), "{shown:#?}");
        assert!(shown[4].contains(&format!(
            "{}{}{}",
            "█".repeat(15),
            "▒".repeat(3),
            "·".repeat(12)
        )));
        assert!(
            shown[4].contains("60.0%") && shown[4].contains("+1.2"),
            "{shown:#?}"
        );
        assert!(shown[5].contains(&"█".repeat(30)), "{shown:#?}");
        assert!(shown[6].starts_with("sorted by use"), "{shown:#?}");
    }

    #[test]
    fn a_bar_shows_the_least_that_is_there_and_never_overflows() {
        assert_eq!(lengths(&row("a", 0, 1)), [0, 0, 1, 29]);
        assert_eq!(lengths(&row("a", 99, 1)), [30, 0, 0, 0]);
        assert_eq!(lengths(&row("a", 0, 0)), [0, 0, 0, 30]);
    }

    #[test]
    fn rows_are_sorted_by_what_matters() {
        let mut rows = [row("a", 1, 0), row("c", 90, 0), row("b", 50, 0)];
        let names = |rows: &[Row]| rows.iter().map(|row| row.pool.clone()).collect::<String>();
        sort(&mut rows, Sort::Used, false);
        assert_eq!(names(&rows), "cba");
        sort(&mut rows, Sort::Free, true);
        assert_eq!(names(&rows), "abc");
        sort(&mut rows, Sort::Name, false);
        assert_eq!(names(&rows), "abc");
    }
}
