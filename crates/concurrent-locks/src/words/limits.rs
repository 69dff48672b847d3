//! How long the texts that locks carry may be.

/// The longest owner label in bytes.
pub const MAX_LABEL_BYTES: usize = 40;

/// The longest note in bytes.
pub const MAX_NOTE_BYTES: usize = 80;
