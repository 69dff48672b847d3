//! Tables for people.

use std::fmt;

use owo_colors::{OwoColorize, Style};
use unicode_width::UnicodeWidthStr;

/// Columns of text, aligned, with a headline, two spaces between columns. One in which nothing stands is left out.
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
}

/// One cell. Numbers are set to the right.
#[derive(Clone, Default)]
pub(super) struct Cell {
    text: String,
    style: Style,
    right: bool,
}

impl Cell {
    /// A cell with text, which may come from a file: its control characters are escaped.
    pub(super) fn text(text: impl AsRef<str>) -> Cell {
        let mut shown = String::new();
        for letter in text.as_ref().chars() {
            if letter.is_control() { shown.extend(letter.escape_default()) } else { shown.push(letter) }
        }
        Cell { text: shown, ..Cell::default() }
    }

    pub(super) fn number(number: impl fmt::Display) -> Cell {
        Cell { text: number.to_string(), right: true, ..Cell::default() }
    }

    pub(super) fn milliseconds(time: f64) -> Cell {
        Cell::number(milliseconds(time))
    }

    pub(super) fn style(mut self, style: Style) -> Cell {
        self.style = style;
        self
    }
}

impl Table {
    pub(super) fn new(headline: impl IntoIterator<Item = &'static str>) -> Table {
        let cell = |title: &str| Cell { text: title.to_owned(), style: Style::new().dimmed(), right: false };
        Table { rows: vec![headline.into_iter().map(cell).collect()] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells: Vec<Cell> = cells.into_iter().collect();
        // The title stands over the end of its numbers.
        self.rows[0].iter_mut().zip(&cells).for_each(|(title, cell)| title.right |= cell.right);
        self.rows.push(cells);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// How wide each column is; 0 for one that is left out.
    fn widths(&self) -> Vec<usize> {
        let width = |column: usize, rows: &[Vec<Cell>]| rows.iter().map(|row| row[column].text.width()).max();
        let columns = 0..self.rows[0].len();
        let is_used = |column| width(column, &self.rows[1..]).is_some_and(|width| width > 0);
        columns.map(|column| if is_used(column) { width(column, &self.rows).unwrap_or(0) } else { 0 }).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for (index, row) in self.rows.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            // No spaces at the end of a line.
            let filled = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
            for (column, cell) in row[..filled].iter().enumerate().filter(|(column, _)| widths[*column] > 0) {
                let gap = widths[column] - cell.text.width();
                let apart = if column + 1 == filled { 0 } else { 2 };
                let (before, after) = match cell.right {
                    true => (gap, apart),
                    false => (0, if apart == 0 { 0 } else { gap + apart }),
                };
                write!(f, "{:before$}{}{:after$}", "", cell.text.style(cell.style), "")?;
            }
        }
        Ok(())
    }
}

/// A time in the unit that suits its size.
pub(super) fn milliseconds(time: f64) -> String {
    match time {
        _ if time < 1.0 => format!("{time:.3} ms"),
        _ if time < 1e3 => format!("{time:.1} ms"),
        _ => format!("{:.1} s", time / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_what_is_empty_is_left_out() {
        let mut table = Table::new(["NAME", "N", "EMPTY", "NOTE"]);
        table.row([Cell::text("日本"), Cell::number(7), Cell::text(""), Cell::text("")]);
        table.row([Cell::text("repo-1\n"), Cell::number(1234), Cell::text(""), Cell::text("x")]);
        let shown = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(shown, "NAME         N  NOTE\n日本         7\nrepo-1\\n  1234  x");
    }

    #[test]
    fn times_have_the_unit_that_suits() {
        assert_eq!([0.0123, 12.34, 3210.0].map(milliseconds), ["0.012 ms", "12.3 ms", "3.2 s"]);
    }
}
