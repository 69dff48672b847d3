//! How moments are shown.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A moment as RFC 3339 in UTC, to the millisecond.
pub(crate) fn rfc3339(at: SystemTime) -> impl fmt::Display {
    // Beyond, there is no way to write a time.
    let shown = at.duration_since(UNIX_EPOCH).is_ok_and(|since| since < LATEST);
    humantime::format_rfc3339_millis(if shown { at } else { UNIX_EPOCH })
}

/// The end of the year 9999.
const LATEST: Duration = Duration::from_secs(253_402_300_799);
