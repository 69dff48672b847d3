//! Compile-time checks of the types that cross threads: that they may, and that they stay small, because a
//! guard is moved several times on its way to whoever holds it.

use crate::{
    Acquire, AcquireAll, Begun, Call, Calling, Events, Guard, GuardAll, LockManager, Lost, Owner, Queued, Request,
    Resource, Upgrade,
};

const fn crosses_threads<T: Send + Sync + Unpin>() {}

const _: () = {
    crosses_threads::<LockManager>();
    crosses_threads::<Owner>();
    crosses_threads::<Resource>();
    crosses_threads::<Request<'_>>();
    crosses_threads::<Acquire<'_>>();
    crosses_threads::<AcquireAll>();
    crosses_threads::<Begun>();
    crosses_threads::<Queued>();
    crosses_threads::<Guard>();
    crosses_threads::<GuardAll>();
    crosses_threads::<Upgrade<'_>>();
    crosses_threads::<Lost>();
    crosses_threads::<Call<LockManager>>();
    crosses_threads::<Calling<LockManager>>();
    crosses_threads::<Events>();
};

/// In bytes. Raise one only with a reason, and update `bench/README.md`.
#[cfg(target_pointer_width = "64")]
const _: () = {
    // 16 of them for when a hand-off is passed over, which an upgrade asks with.
    assert!(size_of::<Guard>() <= 152);
    assert!(size_of::<Queued>() <= 152);
    assert!(size_of::<Acquire<'_>>() <= 224);
};
