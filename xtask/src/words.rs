//! `cargo xtask words`: texts and names use the words of `docs/design/glossary.md`, and no others for the same thing.
//!
//! The glossary is the only list: the last column of its tables holds the banned phrases. Those that its lines
//! "Texts only:" repeat may still be identifiers, but may not be used in comments, messages or documents.

use std::{cell::Cell, fs, path::Path, process::Command};

use crate::step::{self, Outcome};

const GLOSSARY: &str = "docs/design/glossary.md";

/// One banned phrase, in lower-case words, and the word to use instead.
struct Ban {
    phrase: Vec<String>,
    instead: String,
    texts_only: bool,
    /// Whether an identifier uses it.
    is_needed: Cell<bool>,
}

struct Word {
    text: String,
    line: usize,
    /// Whether it stands in a comment, a string or a document, outside of backticks.
    in_text: bool,
    /// Whether nothing but white space, comment signs or a hyphen separates it from the word before it.
    joined: bool,
}

pub(crate) fn run() -> Outcome {
    let root = step::root();
    let read = |path: &str| fs::read_to_string(root.join(path)).map_err(|error| format!("cannot read {path}: {error}"));
    let bans = bans(&read(GLOSSARY)?)?;
    let mut hits = Vec::new();
    for path in files(&root)? {
        let text = read(&path)?;
        let text = if path == "CHANGELOG.md" { unreleased(&text) } else { &text };
        hits.extend(check(&path, text, &bans));
    }
    hits.extend(bans.iter().filter(|ban| ban.texts_only && !ban.is_needed.get()).map(|ban| {
        format!("{GLOSSARY}: no identifier uses \"{}\": take it off the line \"Texts only\"", ban.phrase.join(" "))
    }));
    if hits.is_empty() {
        eprintln!("\n== words: none of {} banned phrases is used", bans.len());
        return Ok(());
    }
    Err(format!("words: {} uses of words that {GLOSSARY} bans\n{}", hits.len(), hits.join("\n")))
}

/// What git tracks or would track, but for the glossary, which must name what it bans.
fn files(root: &Path) -> Result<Vec<String>, String> {
    let mut list = Command::new("git");
    list.current_dir(root).args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
    let output = list.output().map_err(|error| format!("cannot run git: {error}"))?;
    let is_read = |path: &&str| {
        let ending = path.rsplit('.').next().unwrap_or_default();
        matches!(ending, "md" | "rs" | "py" | "pyi" | "lua" | "sql") && *path != GLOSSARY && root.join(path).is_file()
    };
    Ok(String::from_utf8_lossy(&output.stdout).split('\0').filter(is_read).map(str::to_owned).collect())
}

/// The changelog's first section; the released ones are history and keep their words.
fn unreleased(changelog: &str) -> &str {
    changelog.match_indices("\n## ").nth(1).map_or(changelog, |(end, _)| &changelog[..end])
}

fn bans(glossary: &str) -> Result<Vec<Ban>, String> {
    let phrases = |list: &str| -> Vec<Vec<String>> {
        let words = |phrase: &str| phrase.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
        list.split(',').map(words).filter(|phrase| !phrase.is_empty()).collect()
    };
    let texts_only: Vec<_> =
        glossary.lines().filter_map(|line| line.strip_prefix("Texts only:")).flat_map(phrases).collect();
    let mut bans = Vec::new();
    for row in glossary.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [word, _, not] = cells[..] else { return Err(format!("{GLOSSARY}: not three columns: {row}")) };
        for phrase in if word == "word" { Vec::new() } else { phrases(not) } {
            let texts_only = texts_only.contains(&phrase);
            bans.push(Ban { phrase, instead: word.to_owned(), texts_only, is_needed: Cell::new(false) });
        }
    }
    match texts_only.iter().find(|phrase| !bans.iter().any(|ban| ban.phrase == **phrase)) {
        Some(phrase) => Err(format!("{GLOSSARY}: \"{}\" is in no table", phrase.join(" "))),
        None => Ok(bans),
    }
}

fn check(path: &str, text: &str, bans: &[Ban]) -> Vec<String> {
    let words = words(text, &texts(path, text));
    let mut hits = Vec::new();
    for at in 0..words.len() {
        for ban in bans {
            let Some(found) = words.get(at..at + ban.phrase.len()) else { continue };
            if found.iter().zip(&ban.phrase).all(|(word, banned)| word.text == *banned)
                && found[1..].iter().all(|word| word.joined)
            {
                if ban.texts_only && !found.iter().all(|word| word.in_text) {
                    ban.is_needed.set(true);
                    continue;
                }
                let line = found[0].line;
                hits.push(format!("{path}:{line}: \"{}\"; use: {}", ban.phrase.join(" "), ban.instead));
            }
        }
    }
    hits
}

/// The words of a file; identifiers are split at underscores and humps.
fn words(text: &str, in_text: &[bool]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut line, mut before, mut joined) = (1, ' ', false);
    for (letter, in_text) in text.chars().zip(in_text) {
        let hump = letter.is_uppercase() && before.is_lowercase();
        if letter == '_'
            && before.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.in_text = false; // a part of an identifier, wherever it stands
        }
        if !letter.is_alphanumeric() {
            joined &= letter.is_whitespace() || "_/!*#-\\>".contains(letter);
            line += usize::from(letter == '\n');
        } else if let (true, Some(word)) = (before.is_alphanumeric() && !hump, words.last_mut()) {
            word.text.extend(letter.to_lowercase());
        } else {
            let in_text = *in_text && before != '_';
            words.push(Word { text: letter.to_lowercase().collect(), line, in_text, joined: joined || hump });
        }
        joined |= letter.is_alphanumeric();
        before = letter;
    }
    words
}

/// For each character, whether it belongs to a comment, a string or a document, outside of backticks.
fn texts(path: &str, text: &str) -> Vec<bool> {
    let (comments, quotes): (&[&str], &[&str]) = match path.rsplit('.').next() {
        Some("rs") => (&["//"], &["\""]),
        Some("lua" | "sql") => (&["--"], &["\"", "'"]),
        Some("py" | "pyi") => (&["#"], &["\"\"\"", "'''", "\"", "'"]),
        _ => return outside_backticks(text, text.chars().map(|_| true).collect()),
    };
    let mut in_text = Vec::new();
    let mut until: Option<String> = None; // the end of the comment or string that has begun
    let (mut rest, mut escaped) = (text, false);
    while let Some(letter) = rest.chars().next() {
        let begins = |signs: &[&str]| signs.iter().find(|sign| rest.starts_with(**sign)).map(|sign| sign.to_string());
        let mut length = letter.len_utf8();
        match &until {
            Some(end) if rest.starts_with(end.as_str()) && !escaped => {
                length = end.len();
                until = None;
            }
            Some(end) => escaped = letter == '\\' && !escaped && !end.contains(['\n', '#']),
            None if rest.starts_with("'\"'") => length = 3, // a character, not the beginning of a string
            None if begins(comments).is_some() => until = Some("\n".into()),
            None => {
                until = begins(quotes);
                length = until.as_ref().map_or(length, String::len);
                if let Some(raw) = rest.strip_prefix('r').map(|raw| raw.trim_start_matches('#'))
                    && raw.starts_with('"')
                    && path.ends_with(".rs")
                {
                    let signs = rest.len() - raw.len() - 1;
                    length = signs + 2;
                    until = Some(format!("\"{}", "#".repeat(signs)));
                }
            }
        }
        in_text.resize(in_text.len() + rest[..length].chars().count(), until.is_some());
        rest = &rest[length..];
    }
    outside_backticks(text, in_text)
}

/// Takes what stands in backticks out of the texts; a fence of three is a code block.
fn outside_backticks(text: &str, mut in_text: Vec<bool>) -> Vec<bool> {
    let mut code = false;
    for (letter, in_text) in text.chars().zip(&mut in_text) {
        code ^= *in_text && letter == '`';
        *in_text &= !code;
    }
    in_text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "| word | meaning | not |\n|---|---|---|\n| release | .. | hurl back, hurled |\n| owner | .. | blorp |\n\nTexts only: blorp\n";

    fn hits(path: &str, text: &str) -> Vec<String> {
        check(path, text, &bans(SMALL).unwrap())
    }

    #[test]
    fn the_project_keeps_to_its_glossary() {
        if let Err(problem) = run() {
            panic!("{problem}");
        }
    }

    #[test]
    fn a_hit_names_the_line_the_phrase_and_what_to_use() {
        assert_eq!(hits("a.md", "one\nto Hurl back"), ["a.md:2: \"hurl back\"; use: release"]);
        assert_eq!(hits("a.rs", "/// to hurl\n/// back").len(), 1);
        assert!(hits("a.md", "hurl it. Back again; unhurled, hurl, back").is_empty());
    }

    #[test]
    fn identifiers_are_split_into_words() {
        assert_eq!(hits("a.rs", "fn hurl_back() {}  struct HurlBack;").len(), 2);
        assert_eq!(hits("a.py", "was_hurled = True").len(), 1);
    }

    #[test]
    fn a_phrase_for_texts_only_may_be_an_identifier() {
        assert!(hits("a.rs", "let blorp = '\"'; r#\"x\"y\"#; blorp // `blorp`").is_empty());
        assert_eq!(hits("a.rs", "f(\"a \\\" blorp\"); blorp // blorp").len(), 2);
        assert_eq!(hits("a.py", "\"\"\"A blorp.\"\"\"\nblorp  # blorp").len(), 2);
        assert_eq!(hits("a.sql", "blorp -- blorp").len(), 1);
        assert_eq!(hits("a.md", "`blorp` blorp\n```\nblorp\n```\n").len(), 1);
    }

    #[test]
    fn a_phrase_for_texts_only_must_be_banned() {
        assert!(bans("Texts only: flurp").is_err());
    }

    #[test]
    fn released_changes_keep_their_words() {
        assert_eq!(unreleased("# C\n\n## Unreleased\n\na\n\n## 0.1\n\nb"), "# C\n\n## Unreleased\n\na\n");
    }
}
