//! Tables and text for people.

use std::{
    fmt,
    io::{self, IsTerminal},
    time::Duration,
};

use owo_colors::{OwoColorize, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of text, aligned, with a headline. Made for terminals: no lines, two spaces between columns. Columns
/// in which nothing stands are left out, and what does not fit the terminal is cut where it matters least.
pub(crate) struct Table {
    headline: Vec<&'static str>,
    rows: Vec<Row>,
    shrinks: &'static [&'static str],
    width: Option<usize>,
}

enum Row {
    Cells(Vec<Cell>),
    /// Words that belong to the row before, from the second column on.
    Remark(String),
}

/// One cell. Numbers are set to the right.
#[derive(Clone, Default)]
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

    pub(crate) fn time(time: Duration) -> Cell {
        Cell::number(duration(time))
    }

    pub(crate) fn style(mut self, style: Style) -> Cell {
        self.style = style;
        self
    }
}

/// A column is cut down to so much at the least.
const NARROWEST: usize = 8;

impl Table {
    pub(crate) fn new(headline: impl IntoIterator<Item = &'static str>) -> Table {
        Table { headline: headline.into_iter().collect(), rows: Vec::new(), shrinks: &[], width: width() }
    }

    /// The columns to cut where the terminal is too narrow, first things first.
    pub(crate) fn shrinks(mut self, columns: &'static [&'static str]) -> Table {
        self.shrinks = columns;
        self
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(Row::Cells(cells.into_iter().collect()));
    }

    pub(crate) fn remark(&mut self, remark: String) {
        self.rows.push(Row::Remark(remark));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn cells(&self) -> impl Iterator<Item = &Vec<Cell>> {
        self.rows.iter().filter_map(|row| if let Row::Cells(cells) = row { Some(cells) } else { None })
    }

    /// How wide each column is; `None` for one that is left out.
    fn widths(&self) -> Vec<Option<usize>> {
        let mut widths = vec![0; self.headline.len()];
        for cells in self.cells() {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = cell.text.width().max(*width);
            }
        }
        let used = |(title, width): (&&str, usize)| (width > 0).then(|| width.max(title.width()));
        let mut widths: Vec<_> = self.headline.iter().zip(widths).map(used).collect();
        if let Some(limit) = self.width {
            let total = |widths: &[Option<usize>]| widths.iter().flatten().map(|width| width + 2).sum::<usize>();
            for column in self.shrinks {
                let surplus = total(&widths).saturating_sub(2 + limit);
                let index = self.headline.iter().position(|title| title == column);
                if let Some(Some(width)) = index.and_then(|index| widths.get_mut(index)) {
                    *width = width.saturating_sub(surplus).max(NARROWEST.min(*width)).max(column.width());
                }
            }
        }
        widths
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let mut right = vec![false; widths.len()];
        for cells in self.cells() {
            right.iter_mut().zip(cells).for_each(|(right, cell)| *right |= cell.right);
        }
        let headline = self.headline.iter().zip(&right);
        let headline = headline.map(|(title, right)| Cell {
            text: (*title).to_owned(),
            style: Style::new().dimmed(),
            right: *right,
        });
        write_row(f, &headline.collect::<Vec<_>>(), &widths)?;
        let indent = widths.first().copied().flatten().map_or(0, |width| width + 2);
        self.rows.iter().try_for_each(|row| {
            writeln!(f)?;
            match row {
                Row::Cells(cells) => write_row(f, cells, &widths),
                Row::Remark(remark) => write!(f, "{:indent$}{remark}", ""),
            }
        })
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, cells: &[Cell], widths: &[Option<usize>]) -> fmt::Result {
    let shown = cells.iter().zip(widths).filter_map(|(cell, width)| Some((cell, (*width)?)));
    let shown: Vec<_> = shown.map(|(cell, width)| (cut(&cell.text, width), cell, width)).collect();
    // No spaces at the end of a line.
    let filled = shown.iter().rposition(|(text, ..)| !text.is_empty()).map_or(0, |last| last + 1);
    for (column, (text, cell, width)) in shown[..filled].iter().enumerate() {
        let gap = width - text.width();
        let (before, after) = match (cell.right, column + 1 == filled) {
            (true, true) => (gap, 0),
            (true, false) => (gap, 2),
            (false, true) => (0, 0),
            (false, false) => (0, gap + 2),
        };
        write!(f, "{:before$}{}{:after$}", "", text.style(cell.style), "")?;
    }
    Ok(())
}

/// As much of the text as has room, and a sign that there was more.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |letter: &char| {
        let wide = letter.width().unwrap_or(0);
        let fits = wide <= room;
        room = room.saturating_sub(wide);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// How wide what is written may be: what `COLUMNS` says, else the terminal. What goes elsewhere is not cut.
fn width() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || {
        let stdout = io::stdout();
        let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok())??;
        Some(usize::from(size.ws_col))
    };
    said.or_else(terminal).filter(|columns| *columns > 0)
}

/// Text of another process with everything made visible that cannot be seen or that steers the reader's eye or
/// terminal. A backslash is written twice where it could be taken for the beginning of such an escape.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_ambiguous = |next: &char| matches!(next, 'n' | 'r' | 't' | 'u' | '\\') || is_invisible(*next);
        match letter {
            '\\' if letters.peek().is_some_and(is_ambiguous) => plain.push_str("\\\\"),
            letter if is_invisible(letter) => plain.extend(letter.escape_default()),
            letter => plain.push(letter),
        }
    }
    plain
}

/// The same for a message that was put together already: its backslashes and its lines stay.
pub(crate) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && is_invisible(letter) {
            visible.extend(letter.escape_default());
        } else {
            visible.push(letter);
        }
    }
    visible
}

/// Control characters, and what Unicode calls Cf, Zl and Zp (General_Category of 16.0): they are not seen
/// themselves, and some change how the rest is seen. With them, the fillers that look like nothing.
fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A time in the unit that suits its size.
pub(crate) fn duration(time: Duration) -> String {
    milliseconds(time.as_secs_f64() * 1e3)
}

pub(crate) fn milliseconds(time: f64) -> String {
    match time {
        _ if time < 1.0 => format!("{time:.3} ms"),
        _ if time < 1e3 => format!("{time:.1} ms"),
        _ if time < 60e3 => format!("{:.1} s", time / 1e3),
        _ => {
            let seconds = Duration::from_secs((time / 1e3) as u64);
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
    fn what_steers_the_terminal_or_the_eye_does_not_reach_it() {
        assert_eq!(plain("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\n");
        for unseen in "\u{202a}\u{202e}\u{2066}\u{2069}\u{200b}\u{200f}\u{2028}\u{2029}\u{feff}\u{ad}\u{e0041}".chars()
        {
            for shown in [plain(&format!("a{unseen}b")), visible(&format!("a{unseen}b"))] {
                assert_eq!(shown, format!("a{}b", unseen.escape_default()));
            }
        }
        assert_eq!(plain("日本 é 🦀 C:\\dir"), "日本 é 🦀 C:\\dir");
    }

    #[test]
    fn escapes_are_distinguished_from_what_looks_so() {
        let texts = ["\n", "\\n", "\\\n", "\\\\n", "\\\\\n", "\\u{1b}", "\u{1b}", "a\\", "a\\\\", "\\x", "\\\\x"];
        let mut shown: Vec<String> = texts.iter().map(|text| plain(text)).collect();
        assert_eq!(shown[..2], ["\\n", "\\\\n"]);
        shown.sort();
        shown.dedup();
        assert_eq!(shown.len(), texts.len(), "{shown:?}");
    }

    #[test]
    fn a_table_fits_and_leaves_out_what_is_empty() {
        let mut table =
            Table { width: Some(30), ..Table::new(["LOCK", "EMPTY", "OWNER", "NOTE"]).shrinks(&["NOTE", "OWNER"]) };
        let note = "a note that is too long 日本";
        table.row([Cell::text("repo"), Cell::text(""), Cell::text("agent-7[4242]"), Cell::text(note)]);
        table.remark("+ 3 more".to_owned());
        let shown = |table: &Table| anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(shown(&table), "LOCK  OWNER          NOTE\nrepo  agent-7[4242]  a note t…\n      + 3 more");
        table.width = Some(20);
        assert_eq!(shown(&table).lines().nth(1), Some("repo  agent-7…  a note …"));
        table.width = None;
        assert!(shown(&table).contains(note));
        assert_eq!(cut("日本日本", 4), "日…");
    }

    #[test]
    fn times_have_the_unit_that_suits() {
        assert_eq!(milliseconds(0.0123), "0.012 ms");
        assert_eq!(milliseconds(12.34), "12.3 ms");
        assert_eq!(milliseconds(3210.0), "3.2 s");
        assert_eq!(milliseconds(95_000.0), "1m 35s");
    }
}
