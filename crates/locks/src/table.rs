//! Tables and words for people.

use std::fmt;

use owo_colors::{OwoColorize, Style};
use unicode_width::UnicodeWidthStr;

/// Columns of text, aligned, with a headline. Made for terminals: no lines, two spaces between columns.
pub(crate) struct Table {
    headline: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// One cell. Numbers are set to the right.
#[derive(Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
    right: bool,
}

impl Cell {
    /// A cell with text that may come from another process: see [`plain`].
    pub(crate) fn text(text: impl AsRef<str>) -> Cell {
        Cell { text: plain(text.as_ref()), ..Cell::default() }
    }

    pub(crate) fn number(number: impl fmt::Display) -> Cell {
        Cell { text: number.to_string(), right: true, ..Cell::default() }
    }

    pub(crate) fn milliseconds(time: f64) -> Cell {
        Cell::number(milliseconds(time))
    }

    pub(crate) fn style(mut self, style: Style) -> Cell {
        self.style = style;
        self
    }
}

impl Table {
    pub(crate) fn new(headline: impl IntoIterator<Item = &'static str>) -> Table {
        Table { headline: headline.into_iter().collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths: Vec<usize> = self.headline.iter().map(|title| title.width()).collect();
        let mut right = vec![false; widths.len()];
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                widths[column] = widths[column].max(cell.text.width());
                right[column] |= cell.right;
            }
        }
        let headline = self.headline.iter().zip(&right);
        let headline = headline.map(|(title, right)| Cell {
            text: (*title).to_owned(),
            style: Style::new().dimmed(),
            right: *right,
        });
        write_row(f, &headline.collect::<Vec<_>>(), &widths)?;
        self.rows.iter().try_for_each(|row| {
            writeln!(f)?;
            write_row(f, row, &widths)
        })
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, cells: &[Cell], widths: &[usize]) -> fmt::Result {
    // No spaces at the end of a line.
    let filled = cells.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
    for (column, (cell, width)) in cells[..filled].iter().zip(widths).enumerate() {
        let gap = width - cell.text.width();
        let (before, after) = match (cell.right, column + 1 == filled) {
            (true, true) => (gap, 0),
            (true, false) => (gap, 2),
            (false, true) => (0, 0),
            (false, false) => (0, gap + 2),
        };
        write!(f, "{:before$}{}{:after$}", "", cell.text.style(cell.style), "")?;
    }
    Ok(())
}

/// Text of another process with control characters made visible, so that a name or note cannot
/// steer the reader's terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { plain.extend(letter.escape_default()) } else { plain.push(letter) }
    }
    plain
}

/// A time in the unit that suits its size.
pub(crate) fn milliseconds(time: f64) -> String {
    match time {
        _ if time < 1.0 => format!("{time:.3} ms"),
        _ if time < 1e3 => format!("{time:.1} ms"),
        _ if time < 60e3 => format!("{:.1} s", time / 1e3),
        _ => {
            let seconds = std::time::Duration::from_secs((time / 1e3) as u64);
            humantime::format_duration(seconds).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_width_on_the_screen_and_numbers_to_the_right() {
        let mut table = Table::new(["NAME", "N", "NOTE"]);
        table.row([Cell::text("日本"), Cell::number(7), Cell::text("")]);
        table.row([Cell::text("repo-1"), Cell::number(1234), Cell::text("x")]);
        let shown = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(shown, "NAME       N  NOTE\n日本       7\nrepo-1  1234  x");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\n");
    }

    #[test]
    fn times_have_the_unit_that_suits() {
        assert_eq!(milliseconds(0.0123), "0.012 ms");
        assert_eq!(milliseconds(12.34), "12.3 ms");
        assert_eq!(milliseconds(3210.0), "3.2 s");
        assert_eq!(milliseconds(95_000.0), "1m 35s");
    }
}
