//! The identity of a new table, as its header keeps it.

use std::{
    sync::atomic::Ordering::{Relaxed, Release},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::engine::table::{
    machine::clock::Clock,
    map::{
        geometry::Geometry,
        layout::{Header, LAYOUT, Layout, MAGIC, OPEN},
    },
};

/// Writes the header of a new table into zeroed memory. `boot` is this boot of the machine: zeros in
/// a private table, which ends before the machine does.
pub(crate) fn initialise(header: &Header, geometry: Geometry, clock: Clock, boot: [u64; 2]) {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for (word, value) in header.geometry.iter().zip(geometry.words()) {
        word.store(value, Relaxed);
    }
    header.size.store(Layout::size_of(geometry) as u64, Relaxed);
    // Tokens of a table made later are larger, unless this one mints more than 3.9 million a second
    // for one bucket all its life or the wall clock is set back. Below 2^53, exact in JSON, until 2043.
    let nanos = since_epoch.as_nanos() as u64;
    header.token_base.store(nanos >> 8, Relaxed);
    for (word, value) in header.boot.iter().zip(boot) {
        word.store(value, Relaxed);
    }
    header.clock_scale.store(clock.scale(), Relaxed);
    header.created.store(since_epoch.as_secs(), Relaxed);
    header.layout.store(LAYOUT, Relaxed);
    header.magic.store(MAGIC, Relaxed);
    header.state.store(OPEN, Release);
}
