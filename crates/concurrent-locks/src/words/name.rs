//! Resource names: their rules, and the hash by which engines place them.

use crate::words::error::{Error, ErrorKind};

/// The longest name in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// A checked resource name with its hash. Borrowed, so that a request allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    text: &'a str,
    hash: u64,
}

impl<'a> Name<'a> {
    /// Checks that `text` is 1 to 255 bytes of UTF-8 without NUL.
    ///
    /// The hash is XXH3-64 with seed 0. It places names in the shared table, so it is part of the
    /// layout: processes built at different times must agree on it (`golden` below).
    #[inline]
    pub(crate) fn new(text: &'a str) -> Result<Name<'a>, Error> {
        let mut name = Name { text, hash: 0 };
        if name.hash_if(true) { Ok(name) } else { Err(invalid(text)) }
    }

    /// Checks and hashes the name, if it is new; `false` if it cannot be a name.
    #[inline]
    pub(crate) fn hash_if(&mut self, is_new: bool) -> bool {
        let bytes = self.text.as_bytes();
        if is_new {
            if !(1..=MAX_NAME_BYTES).contains(&bytes.len()) || has_nul(bytes) {
                return false;
            }
            self.hash = xxhash_rust::xxh3::xxh3_64(bytes);
        }
        true
    }

    /// A name that was checked and hashed before.
    pub(crate) fn known(text: &'a str, hash: u64) -> Name<'a> {
        Name { text, hash }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

/// Whether a byte is 0. Whole words at a time: this is on every request's path.
#[inline]
fn has_nul(bytes: &[u8]) -> bool {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // A borrow reaches a byte's high bit only from that byte being 0, or from a 0 below it.
    let in_word = |word: u64| word.wrapping_sub(LOW) & !word & HIGH != 0;
    let (whole, rest) = bytes.as_chunks::<8>();
    whole.iter().any(|word| in_word(u64::from_ne_bytes(*word))) || rest.contains(&0)
}

#[cold]
fn invalid(text: &str) -> Error {
    let problem = match text.len() {
        0 => "is empty; a name has 1 to 255 bytes".to_owned(),
        len if len > MAX_NAME_BYTES => format!("has {len} bytes; a name has 1 to 255 bytes"),
        _ => "contains a NUL byte".to_owned(),
    };
    let shown: String = text.chars().take(40).collect();
    Error::new(ErrorKind::InvalidName, format!("the lock name {shown:?} {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_to_255_bytes_without_nul() {
        let longest = "x".repeat(255);
        for good in ["a", "episodic_db:episodic_memory.db", "/tmp/ü/日本", longest.as_str()] {
            assert_eq!(Name::new(good).unwrap().text(), good);
        }
        let too_long = "x".repeat(256);
        for bad in ["", "a\0b", too_long.as_str()] {
            assert_eq!(Name::new(bad).unwrap_err().kind(), ErrorKind::InvalidName);
        }
        for place in 0..20 {
            let mut name = "\u{1}\u{7f}xyz".repeat(4);
            name.replace_range(place..=place, "\0");
            assert_eq!(Name::new(&name).unwrap_err().kind(), ErrorKind::InvalidName, "{name:?}");
        }
    }

    #[test]
    fn golden() {
        assert_eq!(Name::new("a").unwrap().hash(), 0xe6c6_32b6_1e96_4e1f);
    }
}
