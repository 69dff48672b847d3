//! Text in shared words.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Text in units of eight bytes; its length is kept elsewhere.
#[repr(transparent)]
pub(crate) struct Text<const WORDS: usize>([AtomicU64; WORDS]);

impl<const WORDS: usize> Text<WORDS> {
    /// Stores as much of the text as fits and returns how many bytes that is. Cuts between characters.
    pub(crate) fn store(&self, text: &str) -> usize {
        let mut len = text.len().min(WORDS * 8);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        for (word, bytes) in self.0.iter().zip(text.as_bytes()[..len].chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Relaxed);
        }
        len
    }

    /// The words as they are.
    pub(crate) fn words(&self) -> [u64; WORDS] {
        std::array::from_fn(|index| self.0[index].load(Relaxed))
    }

    pub(crate) fn load(&self, len: usize) -> String {
        text_of(&self.words(), len)
    }

    pub(crate) fn copy_from(&self, other: &Text<WORDS>, len: usize) {
        for (mine, theirs) in self.0.iter().zip(&other.0).take(len.div_ceil(8)) {
            mine.store(theirs.load(Relaxed), Relaxed);
        }
    }

    /// Whether the stored text is `bytes`. Whole words at a time: this is on every request's path.
    #[inline]
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        let (whole, rest) = bytes.as_chunks::<8>();
        let Some(words) = self.0.get(..whole.len() + usize::from(!rest.is_empty())) else { return false };
        if words.iter().zip(whole).any(|(word, bytes)| word.load(Relaxed) != u64::from_le_bytes(*bytes)) {
            return false;
        }
        let Some(word) = words.get(whole.len()) else { return true };
        // No copy into eight zeroed bytes: loading a word that was just stored in parts is slow.
        let last = match bytes.last_chunk::<8>() {
            Some(bytes) => u64::from_le_bytes(*bytes) >> (64 - 8 * rest.len()),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        word.load(Relaxed) & (u64::MAX >> (64 - 8 * rest.len())) == last
    }
}

pub(crate) fn text_of(words: &[u64], len: usize) -> String {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.truncate(len);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_itself_and_nothing_else() {
        let text = Text::<4>(std::array::from_fn(|_| AtomicU64::new(u64::MAX)));
        let bytes = "abcdefghijklmnopqrstuvwxyzABCDEF";
        for len in 0..=32 {
            text.store(&bytes[..len]);
            assert!(text.is(&bytes.as_bytes()[..len]), "{len}");
            for changed in 0..len {
                let mut other = bytes.as_bytes()[..len].to_vec();
                other[changed] = b'!';
                assert!(!text.is(&other), "{len}, byte {changed}");
            }
        }
        assert!(!text.is(&[b'x'; 33]), "longer than there is room for");
    }
}
