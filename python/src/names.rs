//! Names that are asked for again and again, checked and hashed once.
//!
//! - **N1** A name is known by its address, and what is known keeps it, so that no other string gets its address.
//! - **N2** A name becomes known when it has been asked for some times, and is forgotten when others have been asked for
//!   in its place: names that are made for one request each cost almost nothing here.

use concurrent_locks::{BareName, LockManager};
use pyo3::{prelude::*, types::PyString};

use crate::gil::GilCell;

enum Place {
    /// An address, without what lay there, and how often it was seen.
    Seen {
        address: usize,
        times: u8,
    },
    Known(Known),
}

struct Known {
    name: Py<PyString>,
    locks: &'static LockManager,
    bare: BareName,
    /// How often others were asked for since.
    missed: u8,
}

const PLACES: usize = 64;
/// After how many requests a name becomes known, or forgotten.
const SOME: u8 = 8;
static NAMES: GilCell<[Place; PLACES]> = GilCell::new([const { Place::Seen { address: 0, times: 0 } }; PLACES]);

/// Does it with the name, if it is known. Runs no Python code meanwhile (G2).
#[inline]
pub(crate) fn with<T>(
    name: &Bound<'_, PyString>,
    locks: &'static LockManager,
    act: impl FnOnce(&BareName) -> T,
) -> Option<T> {
    let address = name.as_ptr() as usize;
    let mut names = NAMES.open(name.py());
    match &mut names[address / 16 % PLACES] {
        Place::Known(known) if known.name.as_ptr() as usize == address && std::ptr::eq(known.locks, locks) => {
            known.missed = 0;
            Some(act(&known.bare))
        }
        _ => {
            drop(names);
            see(name, locks);
            None
        }
    }
}

/// Takes notice of a name that is not known (N2).
#[cold]
fn see(name: &Bound<'_, PyString>, locks: &'static LockManager) {
    let py = name.py();
    let address = name.as_ptr() as usize;
    let mut names = NAMES.open(py);
    let place = &mut names[address / 16 % PLACES];
    let new = match place {
        Place::Known(known) if known.missed < SOME => {
            known.missed += 1;
            return;
        }
        Place::Seen { address: seen, times } if *seen == address && *times < SOME => {
            *times += 1;
            return;
        }
        Place::Seen { address: seen, .. } if *seen == address => {
            let bare = name.to_str().ok().and_then(|text| BareName::new(locks, text).ok());
            bare.map(|bare| Place::Known(Known { name: name.clone().unbind(), locks, bare, missed: 0 }))
        }
        _ => None,
    };
    let old = std::mem::replace(place, new.unwrap_or(Place::Seen { address, times: 1 }));
    drop(names);
    // When the cell is closed, and where PyO3 does not know that the GIL is held.
    if let Place::Known(known) = old {
        known.name.drop_ref(py);
    }
}
