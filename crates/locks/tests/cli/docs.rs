//! `docs/cli.md` says what `--help` says, no more and no less.

use std::collections::BTreeSet;

use crate::space::Space;

const PAGE: &str = include_str!("../../../../docs/cli.md");

fn help(space: &Space, verb: Option<&str>) -> String {
    let output = space.finish(verb.into_iter().chain(["--help"]));
    String::from_utf8(output.stdout).unwrap()
}

/// Every `--option` that begins a line of a help text or a row of the page.
fn options<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let word = |line: &'a str| {
        let start = line.find("--")?;
        let length = line[start..].find(|letter: char| !letter.is_ascii_lowercase() && letter != '-');
        Some(&line[start..start + length.unwrap_or(line.len() - start)])
    };
    lines.filter_map(word).filter(|option| option.len() > 2).collect()
}

fn of_help(help: &str) -> BTreeSet<&str> {
    let usage = |line: &&str| line.trim_start().starts_with('-') && !line.trim_start().starts_with("- ");
    options(help.lines().filter(usage))
}

/// The options in the tables of one chapter of the page.
fn of_page(chapter: &str) -> BTreeSet<&'static str> {
    let text =
        PAGE.split("\n## ").find(|text| text.starts_with(chapter)).unwrap_or_else(|| panic!("no chapter {chapter}"));
    options(text.lines().filter(|line| line.starts_with("| `-")))
}

#[test]
fn every_option_is_on_the_page_and_nothing_else_is() {
    let space = Space::new();
    let global = of_page("# The `locks` command");
    assert!(global.contains("--space"));
    for verb in ["run", "status", "stats", "watch", "deadlocks", "break", "doctor", "demo"] {
        let help = help(&space, Some(verb));
        let own: BTreeSet<_> = of_help(&help).difference(&global).copied().collect();
        assert_eq!(own, of_page(&format!("locks {verb}")), "{verb}");
    }
}

#[test]
fn the_exit_codes_of_the_page_are_those_of_the_help() {
    let help = help(&Space::new(), None);
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let of_help: Vec<_> = codes.lines().filter_map(|line| line.trim().split_once(' ')).collect();
    let (_, table) = PAGE.split_once("## Exit codes").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let of_page: Vec<_> = rows.map(|row| row.trim_matches(['|', ' ']).split_once(" | ").unwrap()).collect();
    assert_eq!(of_help.iter().map(|(code, text)| (*code, text.trim())).collect::<Vec<_>>(), of_page);
}
