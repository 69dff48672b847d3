//! Where a table's file is found to be, and how often to look (I2, `in_place.rs`).

use std::time::Duration;

/// How long nobody looks again (I2): a look costs a microsecond.
pub(crate) const IN_PLACE_EVERY: Duration = Duration::from_millis(1);

/// Where the table's file is.
#[derive(Debug)]
pub(crate) enum Whereabouts {
    InPlace,
    /// It has no name any more.
    Deleted,
    /// It has another name.
    Moved,
    /// Unknown to this process, and why.
    NotVisible(String),
}
