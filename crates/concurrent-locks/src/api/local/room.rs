//! A lock of this process, and where its data is while nobody has it.

use std::{
    ops::{Deref, DerefMut},
    sync::{self, PoisonError},
};

use crate::{
    api::{manager::LockManager, resource::Resource},
    words::error::{Error, ErrorKind},
};

/// A lock and where its data is while nobody has it.
pub(super) struct Room<D> {
    pub(super) lock: Resource,
    data: sync::Mutex<Option<D>>,
}

impl<D> Room<D> {
    pub(super) fn new(name: &str, data: D) -> Result<Room<D>, Error> {
        let lock = LockManager::connect("local:").blocking()?.resource(name)?;
        Ok(Room { lock, data: sync::Mutex::new(Some(data)) })
    }

    pub(super) fn data(&self) -> sync::MutexGuard<'_, Option<D>> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The data, once nobody can ask any more.
    pub(super) fn into_data(self) -> Option<D> {
        self.data.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a holder that would not be alone with the data.
    pub(super) fn elsewhere(&self) -> Error {
        let name = self.lock.name();
        let text = format!("the data of {name:?} is still with a holder whose lock was broken");
        Error::new(ErrorKind::Lost, text).on(name)
    }
}

/// The data while it is out of the room. Dropped before the lock is released.
pub(super) struct Taken<'a, D> {
    data: Option<D>,
    room: &'a Room<D>,
}

impl<'a, D> Taken<'a, D> {
    pub(super) fn out_of(room: &'a Room<D>) -> Result<Taken<'a, D>, Error> {
        let data = room.data().take().ok_or_else(|| room.elsewhere())?;
        Ok(Taken { data: Some(data), room })
    }
}

impl<D> Deref for Taken<'_, D> {
    type Target = D;

    fn deref(&self) -> &D {
        self.data.as_ref().unwrap_or_else(|| unreachable!("it is put back by drop"))
    }
}

impl<D> DerefMut for Taken<'_, D> {
    fn deref_mut(&mut self) -> &mut D {
        self.data.as_mut().unwrap_or_else(|| unreachable!("it is put back by drop"))
    }
}

impl<D> Drop for Taken<'_, D> {
    fn drop(&mut self) {
        *self.room.data() = self.data.take();
    }
}
