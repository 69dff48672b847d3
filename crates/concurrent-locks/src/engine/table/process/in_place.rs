//! Whether the table's file is where others find it, and the consequences if it is not.
//!
//! - I1. Only a file without any name, as shown by our own descriptor of it, is gone for everybody: then
//!   the table is retired, and all of its users are notified. If one process alone cannot see it (after
//!   `chroot`, `setuid`, a mount over the folder), only that process is affected.
//! - I2. Every acquisition and every release has checked within `IN_PLACE_EVERY`; and a table is never
//!   created within twice that time of the moment at which its path was seen empty (`file.rs`). So a holder
//!   inside when new processes enter another table at that path learns it at release, at the latest.

use std::sync::atomic::Ordering::{Relaxed, Release};

use crate::{
    engine::{
        Grant,
        table::{
            Table,
            map::layout,
            place::whereabouts::{IN_PLACE_EVERY, Whereabouts},
            process::attach::Attachment,
        },
    },
    words::error::{Error, ErrorKind},
};

impl Table {
    pub(crate) fn whereabouts(&self, me: &Attachment) -> Whereabouts {
        let (Some(file), Some(liveness)) = (&self.file, &me.liveness) else { return Whereabouts::InPlace };
        let found = liveness.whereabouts(file);
        match found {
            Whereabouts::InPlace => {}
            Whereabouts::Deleted => self.layout.header().state.store(layout::RETIRED, Release),
            // What one look has found, the next must not miss because it comes soon.
            Whereabouts::Moved | Whereabouts::NotVisible(_) => me.checked.store(0, Relaxed),
        }
        found
    }

    /// The error of a table that this process must not use any more.
    pub(crate) fn check_in_place(&self, me: &Attachment) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        match self.whereabouts(me) {
            Whereabouts::InPlace => Ok(()),
            Whereabouts::Deleted | Whereabouts::Moved => Err(file.gone()),
            Whereabouts::NotVisible(why) => Err(file.not_visible(&why)),
        }
    }

    /// [`Table::check_in_place`], unless that was done lately (I2).
    #[inline]
    pub(crate) fn check_in_place_sometimes(&self, me: &Attachment, now: u64) -> Result<(), Error> {
        if Self::was_in_place(me, now) {
            return Ok(());
        }
        self.check_in_place(me)?;
        me.checked.store(now, Relaxed);
        Ok(())
    }

    /// Whether this process has looked lately (I2).
    #[inline]
    pub(crate) fn was_in_place(me: &Attachment, now: u64) -> bool {
        now.saturating_sub(me.checked.load(Relaxed)) < IN_PLACE_EVERY.as_nanos() as u64
    }

    /// After a lock was released at `now`: whether its holder was alone in the section (I2).
    #[inline]
    pub(crate) fn check_was_alone(&self, me: &Attachment, grant: &Grant, now: u64) -> Result<(), Error> {
        let found = self.check_open().and_then(|()| self.check_in_place_sometimes(me, now));
        match found {
            Ok(()) => Ok(()),
            Err(error) => self.was_alone(me, grant, &error),
        }
    }

    #[cold]
    fn was_alone(&self, me: &Attachment, grant: &Grant, error: &Error) -> Result<(), Error> {
        match self.whereabouts(me) {
            // Nothing says that it was not; the next request reports it.
            Whereabouts::NotVisible(_) => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Lost,
                format!(
                    "the {} lock with token {} may also have been held by another process: {error}",
                    grant.mode, grant.token
                ),
            )),
        }
    }
}
