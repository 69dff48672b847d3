//! What a record packs into one word beside its texts: bits 0 to 7 the priority, 8 to 15 the bytes of its label, 16 to
//! 23 those of its note, 24 whether its owner may hold the resource already, and from 32 on milliseconds.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::{
    engine::table::map::layout::Record,
    words::limits::{MAX_LABEL_BYTES, MAX_NOTE_BYTES},
};

const MAY_HOLD: u64 = 1 << 24;

impl Record {
    /// `label` and `note` are lengths in bytes.
    #[inline]
    pub(crate) fn set_attributes(&self, priority: i8, label: usize, note: usize, may_hold: bool) {
        let may_hold = if may_hold { MAY_HOLD } else { 0 };
        let attributes = u64::from(priority as u8) | (label as u64) << 8 | (note as u64) << 16 | may_hold;
        self.attributes.store(attributes, Relaxed);
    }

    #[inline]
    pub(crate) fn label_len(&self) -> usize {
        ((self.attributes.load(Relaxed) >> 8 & 0xff) as usize).min(MAX_LABEL_BYTES)
    }

    pub(crate) fn note_len(&self) -> usize {
        ((self.attributes.load(Relaxed) >> 16 & 0xff) as usize).min(MAX_NOTE_BYTES)
    }

    pub(crate) fn priority(&self) -> i8 {
        self.attributes.load(Relaxed) as u8 as i8
    }

    /// Whether the owner may hold this resource itself (labelled owners, upgrades).
    pub(crate) fn may_hold(&self) -> bool {
        self.attributes.load(Relaxed) & MAY_HOLD != 0
    }

    /// How long a hand-off to this request may lie before it is taken up, in nanoseconds.
    pub(crate) fn pass_over_after(&self) -> u64 {
        (self.attributes.load(Acquire) >> 32) * 1_000_000
    }

    pub(crate) fn set_pass_over_after(&self, millis: u32) {
        let others = self.attributes.load(Relaxed) & u64::from(u32::MAX);
        self.attributes.store(others | u64::from(millis) << 32, Relaxed);
    }
}
