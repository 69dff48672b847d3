//! Compile-time checks of the types that cross threads: that they may, and that they stay small, because a
//! guard is moved several times on its way to whoever holds it.

use crate::{
    Acquire, AcquireAll, Begun, Call, Calling, Events, Guard, GuardAll, LockManager, Lost, Owner, Queued,
    QueuedUpgrade, Request, RequestAll, Resource, Upgrade, Upgrading, Verify, Verifying,
};

const fn crosses_threads<T: Send + Sync + Unpin>() {}

const _: () = {
    crosses_threads::<LockManager>();
    crosses_threads::<Owner>();
    crosses_threads::<Resource>();
    crosses_threads::<Request<'_>>();
    crosses_threads::<Acquire<'_>>();
    crosses_threads::<RequestAll>();
    crosses_threads::<AcquireAll>();
    crosses_threads::<Begun>();
    crosses_threads::<Queued>();
    crosses_threads::<Guard>();
    crosses_threads::<GuardAll>();
    crosses_threads::<Upgrade<'_>>();
    crosses_threads::<Upgrading<'_>>();
    crosses_threads::<QueuedUpgrade>();
    crosses_threads::<Verify<'_>>();
    crosses_threads::<Verifying<'_>>();
    crosses_threads::<Lost>();
    crosses_threads::<Call<LockManager>>();
    crosses_threads::<Calling<LockManager>>();
    crosses_threads::<Events>();
};

/// In bytes. Raise one only with a reason, and update `bench/README.md`.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Guard>() <= 80);
    // A guard that was made is moved as it is: no tag beside it.
    assert!(size_of::<Result<Guard, crate::Error>>() <= 80);
    assert!(size_of::<Begun>() <= 80);
    assert!(size_of::<Queued>() <= 80);
    assert!(size_of::<Request<'_>>() <= 120);
    assert!(size_of::<Acquire<'_>>() <= 120);
};
