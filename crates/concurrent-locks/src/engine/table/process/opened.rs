//! The tables that this process has opened.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::{engine::table::Table, os::roll::Roll};

static TABLES: Roll<&'static Table> = Roll::new();

/// The number of a table that is about to be opened.
pub(crate) fn next_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Relaxed)
}

pub(crate) fn add(table: &'static Table) {
    TABLES.push(table);
}

pub(crate) fn tables() -> impl Iterator<Item = &'static Table> {
    TABLES.iter().copied()
}
