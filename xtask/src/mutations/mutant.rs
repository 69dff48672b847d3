//! Which fault this process has. Put into the copy by `cargo xtask mutations`.

use std::sync::LazyLock;

static CHOSEN: LazyLock<Option<usize>> = LazyLock::new(|| std::env::var("MUTANT").ok()?.parse().ok());

/// Faults of the scripts and the schema: number, text, and what stands in its place.
const TEXTS: &[(usize, &str, &str)] = &[
/* TEXTS */
];

#[inline]
pub(crate) fn is(number: usize) -> bool {
    *CHOSEN == Some(number)
}

/// The text with the fault in it, if it is one of this text.
pub(crate) fn of(text: &str) -> String {
    let chosen = TEXTS.iter().find(|(number, ..)| is(*number));
    chosen.map_or_else(|| text.to_owned(), |(_, old, new)| text.replacen(old, new, 1))
}
