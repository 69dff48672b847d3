//! The bytes of the table's file by which the kernel says who is alive: of each slot a *life byte* (L1) and a
//! *tree byte* (L5), far behind the table's end (`liveness.rs` says what they mean).

use std::{fs::File, io, os::fd::AsFd};

use crate::engine::table::machine::kernel;

/// The first life byte, far behind any table's end.
const FIRST_BYTE: i64 = 1 << 40;

/// Where the life byte of a slot lies.
pub(crate) fn life_byte(slot: u32) -> i64 {
    FIRST_BYTE + 2 * i64::from(slot)
}

/// Where its tree byte lies (L5): behind the life byte, so that one call takes both.
pub(crate) fn tree_byte(slot: u32) -> i64 {
    life_byte(slot) + 1
}

/// Takes the bytes of all slots: succeeds if nobody is alive in the table.
pub(crate) fn try_lock_all(file: &File, slots: u32) -> io::Result<bool> {
    kernel::try_lock_bytes(file.as_fd(), FIRST_BYTE, 2 * i64::from(slots))
}

/// Whether anybody is alive in the table, as one who only looks can ask.
pub(crate) fn is_anybody_alive(file: &File, slots: u32) -> io::Result<bool> {
    kernel::any_byte_is_locked(file.as_fd(), FIRST_BYTE, 2 * i64::from(slots))
}
