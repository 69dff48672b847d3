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
    for verb in ["run", "status", "stats", "watch", "deadlocks", "break", "doctor"] {
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

/// The samples of README and page are what the command prints, but for names, pids and times.
#[test]
fn the_samples_of_status_are_what_it_prints() {
    let space = Space::new();
    let holder = space.hold("repo", &["--owner", "git[4242]"]);
    let waiter = space.start(["run", "--owner", "agent-8", "--note", "nightly build", "repo", "--", "true"]);
    space.until_waiters("repo", 1);
    let printed = String::from_utf8(space.finish(["status"]).stdout).unwrap();
    let words = |text: &str| {
        let line = |line: &str| {
            let word = |word: &str| {
                let label = word.split('[').next().unwrap_or_default().to_owned();
                if label.starts_with(|letter: char| letter.is_ascii_digit()) { "N".to_owned() } else { label }
            };
            let begins_later = if line.starts_with(' ') { ">" } else { "" };
            format!("{begins_later}{}", line.split_whitespace().map(word).collect::<Vec<_>>().join(" "))
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n").replace(" ms", " s")
    };
    for page in [PAGE, include_str!("../../../../README.md")] {
        let (_, sample) = page.split_once("$ locks status\n").expect("a sample");
        let sample = sample.split_once("\n```").unwrap().0;
        assert_eq!(words(sample), words(printed.trim_end()), "{printed}");
    }
    drop(waiter);
    holder.let_go();
}
