//! Tables of medians and ratios, and the list of aims with what was measured.

use std::io::{self, Write};

use serde::Serialize;

use crate::measure::{Measured, QUIET, Series};

/// The rows of one comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// What is done, and what the figures mean.
    pub(crate) note: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// The row that ratios are given against.
    pub(crate) against: String,
    /// Load of other processes while it was measured, as a share of one CPU.
    pub(crate) foreign_load: f64,
    /// Rows that are missing, and why.
    pub(crate) failed: Vec<String>,
}

/// One contender.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) cells: Vec<Cell>,
}

/// One contender in one column. An infinite value is one that was not reached in the time given.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) p95: f64,
    /// Median over the median of the row the table is against.
    pub(crate) ratio: Option<f64>,
}

impl Cell {
    fn new(series: &Series, base: Option<f64>) -> Cell {
        let median = series.median();
        let ratio = base.map(|base| median / base).filter(|ratio| ratio.is_finite());
        Cell { median, min: series.min(), p95: series.at(0.95), ratio }
    }
}

impl Table {
    pub(crate) fn new(title: &str, note: &str, columns: &[&str], against: &str, measured: Measured) -> Table {
        let base = measured.rows.iter().find(|(name, _)| name == against).map(|(_, columns)| columns.clone());
        let rows = measured.rows.into_iter().map(|(name, series)| {
            let cells = series.iter().enumerate().map(|(column, series)| {
                Cell::new(series, base.as_ref().and_then(|base| base.get(column)).map(Series::median))
            });
            Row { name, cells: cells.collect() }
        });
        Table {
            title: title.to_owned(),
            note: note.to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: rows.collect(),
            against: against.to_owned(),
            foreign_load: measured.foreign,
            failed: measured.failed,
        }
    }

    /// Leaves the ratios of a column out, where the figure is one itself.
    #[must_use]
    pub(crate) fn without_ratio(mut self, column: usize) -> Table {
        self.rows.iter_mut().filter_map(|row| row.cells.get_mut(column)).for_each(|cell| cell.ratio = None);
        self
    }

    /// The median of a row in a column; `None` where there is no such row.
    pub(crate) fn median(&self, row: &str, column: usize) -> Option<f64> {
        let row = self.rows.iter().find(|candidate| candidate.name == row)?;
        row.cells.get(column).map(|cell| cell.median)
    }

    /// The median of `row` over that of `other`, in one column.
    pub(crate) fn ratio(&self, row: &str, other: &str, column: usize) -> Option<f64> {
        Some(self.median(row, column)? / self.median(other, column)?)
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let noise = if self.foreign_load > QUIET {
            format!(" !! NOISY: others used {:.0} % of a CPU", self.foreign_load * 1e2)
        } else {
            String::new()
        };
        writeln!(out, "\n{}{noise}\n  {}", self.title, self.note)?;
        let mut lines = vec![[vec![String::new()], self.columns.clone()].concat()];
        for row in &self.rows {
            let cells = row.cells.iter().map(Self::cell);
            lines.push([row.name.clone()].into_iter().chain(cells).collect());
        }
        let width =
            |column: usize| lines.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..=self.columns.len()).map(width).collect();
        for line in &lines {
            write!(out, "  {:1$}", line[0], widths[0])?;
            for (cell, width) in line.iter().zip(&widths).skip(1) {
                write!(out, " | {cell:>width$}")?;
            }
            writeln!(out)?;
        }
        self.failed.iter().try_for_each(|failed| writeln!(out, "  !! {failed}"))
    }

    fn cell(cell: &Cell) -> String {
        if cell.median.is_infinite() {
            return "never".to_owned();
        }
        let ratio = cell.ratio.map(|ratio| format!(" {}x", number(ratio))).unwrap_or_default();
        format!("{} [{}-{}]{ratio}", number(cell.median), number(cell.min), number(cell.p95))
    }
}

/// Three significant digits, more for large numbers.
fn number(value: f64) -> String {
    match value.abs() {
        infinite if infinite.is_infinite() => "never".to_owned(),
        large if large >= 99.95 => format!("{value:.0}"),
        middle if middle >= 9.995 => format!("{value:.1}"),
        small if small >= 0.0995 || small == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// One of the aims the project set itself.
#[derive(Debug, Serialize)]
pub(crate) struct Aim {
    pub(crate) aim: String,
    pub(crate) bound: f64,
    pub(crate) at_least: bool,
    pub(crate) unit: &'static str,
    /// `None` where it could not be measured here.
    pub(crate) measured: Option<f64>,
    pub(crate) met: Option<bool>,
}

impl Aim {
    pub(crate) fn at_most(aim: impl Into<String>, bound: f64, unit: &'static str, measured: Option<f64>) -> Aim {
        let met = measured.map(|measured| measured <= bound);
        Aim { aim: aim.into(), bound, at_least: false, unit, measured, met }
    }

    pub(crate) fn at_least(aim: impl Into<String>, bound: f64, unit: &'static str, measured: Option<f64>) -> Aim {
        let met = measured.map(|measured| measured >= bound);
        Aim { aim: aim.into(), bound, at_least: true, unit, measured, met }
    }
}

pub(crate) fn print_aims(aims: &[Aim], out: &mut impl Write) -> io::Result<()> {
    if aims.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nAims (ratios and times of this run)")?;
    let width = aims.iter().map(|aim| aim.aim.len()).max().unwrap_or(0);
    for aim in aims {
        let sign = if aim.at_least { ">=" } else { "<=" };
        let measured = aim.measured.map_or("-".to_owned(), |measured| format!("{}{}", number(measured), aim.unit));
        let verdict = match aim.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        let bound = format!("{}{}", number(aim.bound), aim.unit);
        writeln!(out, "  {:width$} | {sign} {bound:>8} | {measured:>9} | {verdict}", aim.aim)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let rows = vec![
            ("ours".to_owned(), vec![Series::new(vec![50.0, 60.0, 55.0])]),
            ("peer".to_owned(), vec![Series::new(vec![100.0, 110.0, 120.0])]),
            ("starved".to_owned(), vec![Series::new(vec![f64::INFINITY; 3])]),
        ];
        Table::new(
            "title",
            "note",
            &["ns"],
            "peer",
            Measured { rows, foreign: 0.5, failed: vec!["x could not be measured: y".to_owned()] },
        )
    }

    #[test]
    fn ratios_are_of_medians() {
        assert_eq!(table().ratio("ours", "peer", 0), Some(0.5));
        assert_eq!(table().rows[0].cells[0].ratio, Some(0.5));
        assert_eq!(table().ratio("ours", "nobody", 0), None);
        assert_eq!(table().without_ratio(0).rows[0].cells[0].ratio, None);
    }

    #[test]
    fn noise_and_starvation_are_reported() {
        let mut text = Vec::new();
        table().print(&mut text).expect("a Vec takes everything");
        let text = String::from_utf8(text).expect("we wrote text");
        assert!(text.contains("NOISY: others used 50 % of a CPU"), "{text}");
        assert!(text.contains("55.0 [50.0-60.0] 0.50x"), "{text}");
        assert!(text.contains("!! x could not be measured: y"), "{text}");
        assert!(text.lines().any(|line| line.contains("starved") && line.contains("never")), "{text}");
    }

    #[test]
    fn an_aim_is_met_missed_or_not_measured() {
        assert_eq!(Aim::at_most("a", 1.0, "x", Some(0.9)).met, Some(true));
        assert_eq!(Aim::at_most("a", 1.0, "x", Some(1.1)).met, Some(false));
        assert_eq!(Aim::at_least("a", 1.8, "x", Some(1.7)).met, Some(false));
        assert_eq!(Aim::at_least("a", 1.8, "x", None).met, None);
    }
}
