//! Errors of the command line, and suggestions.
//!
//! The parser's own tips go by likeness alone, and for `locks run` lead astray: a mistyped option of the command
//! would become a lock's name, or the command itself.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{
    exit::{Code, Exit, UsageError},
    output::Output,
    table::visible,
};

/// Prints what the parser has to say: an error, or the help or version that was asked for.
pub(crate) fn tell(mut error: clap::Error) -> Code {
    if !error.use_stderr() {
        // If stdout is closed, nobody reads it.
        let _ = error.print();
        return Exit::Success.into();
    }
    let arguments: Vec<String> = std::env::args().skip(1).take_while(|argument| argument != "--").collect();
    let advice = advice(&mut error, &arguments);
    if arguments.iter().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let said = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let said: Vec<_> = said.lines().map(str::trim).chain(advice.as_deref()).collect();
        Output::new(true, false).failure(&UsageError(visible(&said.join(" "))).into());
    } else {
        let text = error.render().to_string();
        // What was typed may come from a script that took it from somewhere.
        if visible(&text) == text {
            let _ = error.print();
        } else {
            anstream::eprint!("{}", visible(&text));
        }
        if let Some(advice) = advice {
            anstream::eprintln!("\n{advice}");
        }
    }
    Exit::Usage.into()
}

/// What to write instead, where that can be known. Takes the parser's tips back where they are not.
fn advice(error: &mut clap::Error, arguments: &[String]) -> Option<String> {
    let runs = arguments.iter().any(|argument| argument == "run");
    match error.kind() {
        ErrorKind::MissingRequiredArgument if runs && lacks_the_command(error) => {
            Some("Put `--` before the command: locks run NAME... -- CMD".to_owned())
        }
        ErrorKind::UnknownArgument => {
            error.remove(ContextKind::Suggested);
            let unknown = text(error, ContextKind::InvalidArg).unwrap_or_default();
            let like = text(error, ContextKind::SuggestedArg).unwrap_or_default();
            if distance(&unknown, &like) > 2 {
                error.remove(ContextKind::SuggestedArg);
            }
            runs.then(|| {
                format!("If {unknown} belongs to the command, put `--` before the command: locks run NAME... -- CMD")
            })
        }
        ErrorKind::InvalidSubcommand => {
            let unknown = text(error, ContextKind::InvalidSubcommand)?;
            error.remove(ContextKind::SuggestedSubcommand);
            let verbs = ["run", "status", "stats", "watch", "deadlocks", "break", "doctor"];
            let (nearest, far) =
                verbs.iter().map(|verb| (verb, distance(&unknown, verb))).min_by_key(|(_, far)| *far)?;
            (far <= 2).then(|| format!("Did you mean `locks {nearest}`?"))
        }
        _ => None,
    }
}

fn lacks_the_command(error: &clap::Error) -> bool {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.len() == 1 && missing[0].contains("CMD"),
        Some(ContextValue::String(missing)) => missing.contains("CMD"),
        _ => false,
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// How many letters must be changed, left out, put in or exchanged with their neighbour (optimal string
/// alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn letters_that_changed_places_are_one_mistake() {
        for (a, b, far) in
            [("rnu", "run", 1), ("run", "run", 0), ("statsu", "status", 1), ("", "run", 3), ("--wait", "--write", 2)]
        {
            assert_eq!(distance(a, b), far, "{a} {b}");
        }
    }
}
