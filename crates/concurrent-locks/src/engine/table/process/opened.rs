//! The tables that this process has opened.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::engine::table::Table;

static TABLES: RwLock<Vec<&'static Table>> = RwLock::new(Vec::new());

pub(crate) fn tables() -> RwLockReadGuard<'static, Vec<&'static Table>> {
    TABLES.read().unwrap_or_else(PoisonError::into_inner)
}

/// The same without waiting for a thread that opens one.
pub(crate) fn tables_now() -> Option<RwLockReadGuard<'static, Vec<&'static Table>>> {
    TABLES.try_read().ok()
}

pub(crate) fn to_change() -> RwLockWriteGuard<'static, Vec<&'static Table>> {
    TABLES.write().unwrap_or_else(PoisonError::into_inner)
}
