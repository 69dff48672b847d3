//! Data behind a lock of this process: [`Mutex`] and [`RwLock`], fair, seen in status, and nobody's when a
//! holder panics.
//!
//! The data is where its holder is: a guard takes it out of the lock and puts it back. So an operator who breaks
//! the lock of a holder that goes on cannot make two of them meet: until that one has given the data back,
//! requests are refused with `Lost`.
//!
//! ```
//! use concurrent_locks::local::Mutex;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), concurrent_locks::Error> {
//! let skills = Mutex::new("skills", vec!["read"])?;
//! skills.lock().await?.push("write");
//! assert_eq!(*skills.lock().blocking()?, ["read", "write"]);
//! # Ok(()) }
//! ```

mod access;
mod guards;
mod room;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

pub use access::{Access, Accessing};
pub use guards::{MutexGuard, ReadGuard, WriteGuard};
use room::{Room, Taken};

use crate::{api::guard::Guard, words::error::Error};

/// Data for one holder at a time. The lock is the one of that name in `local:`: two `Mutex` of one name exclude
/// each other, and [`LockManager::status`](crate::LockManager::status) shows who has it. Not poisoned by a panic.
pub struct Mutex<T> {
    room: Room<Box<T>>,
}

impl<T> Mutex<T> {
    /// Data behind the lock `name`.
    ///
    /// # Errors
    /// `InvalidName`; `Unreachable` if the system refuses memory for the lock table.
    pub fn new(name: &str, data: T) -> Result<Mutex<T>, Error> {
        Room::new(name, Box::new(data)).map(|room| Mutex { room })
    }

    /// A request for the data.
    ///
    /// ```
    /// # use concurrent_locks::{ErrorKind, LockManager, local::Mutex};
    /// let steps = Mutex::new("steps", 0)?;
    /// let mut guard = steps.lock().note("counting").blocking()?;
    /// *guard += 1;
    /// assert_eq!(steps.lock().try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    /// let status = LockManager::local().status("steps").blocking()?.unwrap();
    /// assert_eq!(status.holders[0].note, "counting");
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn lock(&self) -> Access<'_, Mutex<T>, MutexGuard<'_, T>> {
        fn enter<T>(mutex: &Mutex<T>, lock: Guard) -> Result<MutexGuard<'_, T>, Error> {
            Ok(MutexGuard { data: Taken::out_of(&mutex.room)?, lock })
        }
        Access { of: self, request: self.room.lock.write(), enter: enter::<T> }
    }

    /// The data, after the last holder.
    ///
    /// ```
    /// # use concurrent_locks::local::Mutex;
    /// let steps = Mutex::new("steps-of-one", 7)?;
    /// assert_eq!(steps.into_inner(), Some(7)); // `None` if a guard was forgotten (`mem::forget`)
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn into_inner(self) -> Option<T> {
        self.room.into_data().map(|data| *data)
    }
}

/// Data for many readers or one writer. As [`Mutex`] otherwise.
pub struct RwLock<T> {
    room: Room<Arc<T>>,
}

impl<T> RwLock<T> {
    /// Data behind the lock `name`.
    ///
    /// # Errors
    /// `InvalidName`; `Unreachable` if the system refuses memory for the lock table.
    pub fn new(name: &str, data: T) -> Result<RwLock<T>, Error> {
        Room::new(name, Arc::new(data)).map(|room| RwLock { room })
    }

    /// A request to read the data, together with other readers.
    ///
    /// ```
    /// # use concurrent_locks::local::RwLock;
    /// let map = RwLock::new("map", [1, 2, 3])?;
    /// let (one, other) = (map.read().blocking()?, map.read().blocking()?);
    /// assert_eq!(one[0] + other[2], 4);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn read(&self) -> Access<'_, RwLock<T>, ReadGuard<T>> {
        fn enter<T>(of: &RwLock<T>, lock: Guard) -> Result<ReadGuard<T>, Error> {
            let data = of.room.data().clone().ok_or_else(|| of.room.elsewhere())?;
            Ok(ReadGuard { data, lock })
        }
        Access { of: self, request: self.room.lock.read(), enter: enter::<T> }
    }

    /// A request to write the data, alone.
    ///
    /// ```
    /// # use concurrent_locks::local::RwLock;
    /// let map = RwLock::new("map-of-one", [1, 2, 3])?;
    /// map.write().blocking()?[0] = 7;
    /// assert_eq!(map.read().blocking()?[0], 7);
    /// # Ok::<(), concurrent_locks::Error>(())
    /// ```
    pub fn write(&self) -> Access<'_, RwLock<T>, WriteGuard<'_, T>> {
        fn enter<T>(of: &RwLock<T>, lock: Guard) -> Result<WriteGuard<'_, T>, Error> {
            let mut data = Taken::out_of(&of.room)?;
            let alone = Arc::get_mut(&mut data).is_some();
            if alone { Ok(WriteGuard { data, lock }) } else { Err(of.room.elsewhere()) }
        }
        Access { of: self, request: self.room.lock.write(), enter: enter::<T> }
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").field("lock", &self.room.lock).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock").field("lock", &self.room.lock).finish_non_exhaustive()
    }
}
