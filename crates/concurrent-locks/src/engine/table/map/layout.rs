//! The table's layout: places and sizes. No code outside this folder knows it.
//!
//! Everything is atomics, so that every bit pattern is valid and other processes may write at any
//! time. Indices are stored plus one, 0 meaning none, and are checked against the geometry, which
//! was validated when the table was opened, on every use.
//!
//! # What is true and what is derived
//! - T1. A **record** (`Record::word`) says that a request is waiting or held, and by which slot.
//! - T2. A **resource** belongs to the bucket in `resource_owner`, and is itself when `name_len` is not 0.
//! - T3. A **chunk** of records belongs to the slot and generation in `chunk_owner`.
//! - T4. A **slot** is alive while the kernel holds its byte lock (`liveness.rs`).
//!
//! All links and counts are derived: `recover.rs` rebuilds them from T1 to T4 after any crash.
#![expect(unsafe_code, reason = "laying types over shared bytes, by checked index")]

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};

use crate::{
    engine::table::map::{
        geometry::Geometry,
        memory::{Mapping, Shared, prefetch},
        text::Text,
    },
    words::{histogram, mode::Mode},
};

/// First bytes of a table.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"locktabl");
/// Raised whenever a struct below, or what a field of one means, changes.
pub(crate) const LAYOUT: u32 = 4;

pub(crate) const LABEL_WORDS: usize = 5;
pub(crate) const NOTE_WORDS: usize = 10;
pub(crate) const NAME_WORDS: usize = 32;
/// How many places a bucket remembers.
pub(crate) const PLACES_KNOWN: usize = 5;
pub(crate) const RECORDS_PER_CHUNK: u32 = 16;
pub(crate) const OPERATIONS_KEPT: u64 = 100;
pub(crate) const MAILBOX: u32 = 64;

/// Page 0. The identity is written before the table can be seen and then only read.
#[repr(C, align(64))]
pub(crate) struct Header {
    pub(crate) magic: AtomicU64,
    pub(crate) layout: AtomicU32,
    /// 1 open, 2 retired (closed to new processes and users alike).
    pub(crate) state: AtomicU32,
    pub(crate) geometry: [AtomicU32; 6],
    pub(crate) size: AtomicU64,
    pub(crate) token_base: AtomicU64,
    pub(crate) boot: [AtomicU64; 2],
    pub(crate) clock_scale: AtomicU64,
    pub(crate) created: AtomicU64,
    /// While the clock is before this, every operation is an event.
    pub(crate) watched_until: Line<AtomicU64>,
    pub(crate) counters: Counters,
}

pub(crate) const OPEN: u32 = 1;
pub(crate) const RETIRED: u32 = 2;

/// A value on a cache line of its own.
#[repr(C, align(64))]
pub(crate) struct Line<T>(pub(crate) T);

#[repr(C, align(64))]
pub(crate) struct Counters {
    /// Resources below this index were used at least once.
    pub(crate) resources_used: AtomicU32,
    /// Where the search for an idle resource continues.
    pub(crate) resource_hand: AtomicU32,
    /// Chunks below this index were used at least once.
    pub(crate) chunks_used: AtomicU32,
    /// Where the search for a free chunk starts.
    pub(crate) chunk_hint: AtomicU32,
    /// Detail blocks given out.
    pub(crate) details_used: AtomicU32,
    /// Slots below this index were used at least once.
    pub(crate) slots_used: AtomicU32,
    pub(crate) reaped: AtomicU64,
    pub(crate) rebuilds: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    pub(crate) evicted: AtomicU64,
    pub(crate) deadlocks: AtomicU64,
    /// The next event's number, and the word its readers sleep on.
    pub(crate) event_next: Line<AtomicU64>,
    pub(crate) event_bell: AtomicU32,
}

/// One process.
#[repr(C, align(64))]
pub(crate) struct Slot {
    /// Who lives in it: see `occupancy.rs`.
    pub(crate) state: AtomicU32,
    /// Raised by each new occupant before anything else.
    pub(crate) generation: AtomicU32,
    /// For display, and for the early proof of death together with `namespace`.
    pub(crate) pid: AtomicU32,
    /// Where in `death` the futex word lies (C libraries differ).
    pub(crate) death_offset: AtomicU32,
    pub(crate) namespace: AtomicU64,
    pub(crate) attached: AtomicU64,
    /// Raised and woken when something is in the mailbox.
    pub(crate) wake_count: AtomicU32,
    /// Letters ever put into the mailbox.
    pub(crate) letters: AtomicU32,
    pub(crate) text_lens: AtomicU32,
    pub(crate) spare: AtomicU32,
    /// A robust mutex held for life by the thread that attached.
    pub(crate) death: [AtomicU64; 8],
    pub(crate) program: Text<8>,
    pub(crate) host: Text<8>,
    /// Records (index + 1) whose waiter the hub must wake. A hint: overwritten when full.
    pub(crate) mailbox: [AtomicU32; MAILBOX as usize],
}

/// A hash bucket and the short lock over its resources.
#[repr(C, align(64))]
pub(crate) struct Bucket {
    pub(crate) lock: AtomicU32,
    pub(crate) first_resource: AtomicU32,
    /// Tickets and tokens of all resources of this bucket: only ever rises.
    pub(crate) counter: AtomicU64,
    /// The latest arrival: arrivals never decrease within a bucket, see [`crate::rule::grant::Rank::of`].
    pub(crate) last_arrival: AtomicU64,
    /// Where names of this bucket were found lately: high half of the name's hash, resource. Only hints.
    pub(crate) known: [AtomicU64; PLACES_KNOWN],
}

/// A named thing. The queue is one list: holders first, then waiters in rank order.
#[repr(C, align(64))]
pub(crate) struct Resource {
    pub(crate) hash: AtomicU64,
    pub(crate) generation: AtomicU32,
    pub(crate) next: AtomicU32,
    pub(crate) head: AtomicU32,
    pub(crate) tail: AtomicU32,
    pub(crate) first_waiter: AtomicU32,
    /// How many hold it, by mode.
    pub(crate) held: [AtomicU32; Mode::COUNT],
    pub(crate) waiters: AtomicU32,
    /// State of the wake window, see `verbs.rs`.
    pub(crate) window: AtomicU32,
    pub(crate) detail: AtomicU32,
    pub(crate) window_opened: AtomicU64,
    /// Commit of T2: not 0 once the name is complete.
    pub(crate) name_len: AtomicU32,
    pub(crate) spare: AtomicU32,
    pub(crate) tallies: [Tally; Mode::COUNT],
    pub(crate) mishaps: [Mishaps; Mode::COUNT],
    pub(crate) name: Text<NAME_WORDS>,
}

/// Counters and times (nanoseconds) of one mode, written under the bucket lock: what every request
/// counts, on one cache line.
#[repr(C, align(64))]
pub(crate) struct Tally {
    pub(crate) acquisitions: AtomicU64,
    pub(crate) releases: AtomicU64,
    pub(crate) wait_sum: AtomicU64,
    pub(crate) wait_min: AtomicU64,
    pub(crate) wait_max: AtomicU64,
    pub(crate) hold_sum: AtomicU64,
    pub(crate) hold_min: AtomicU64,
    pub(crate) hold_max: AtomicU64,
}

/// What seldom happens to requests of one mode, written under the bucket lock.
#[repr(C)]
pub(crate) struct Mishaps {
    pub(crate) timeouts: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) deadlocks: AtomicU64,
    pub(crate) spare: AtomicU64,
}

/// A request: waiting or held.
#[repr(C, align(64))]
pub(crate) struct Record {
    /// T1. See [`Word`].
    pub(crate) word: AtomicU64,
    /// How its waiter is to be woken. See `wait_word.rs`.
    pub(crate) grant: AtomicU32,
    pub(crate) resource: AtomicU32,
    pub(crate) virtual_arrival: AtomicI64,
    pub(crate) ticket: AtomicU64,
    pub(crate) owner: AtomicU64,
    pub(crate) token: AtomicU64,
    pub(crate) next: AtomicU32,
    pub(crate) prev: AtomicU32,
    pub(crate) requested: AtomicU64,
    pub(crate) granted: AtomicU64,
    /// priority (8 bits), label length (8), note length (8).
    pub(crate) attributes: AtomicU64,
    pub(crate) label: Text<LABEL_WORDS>,
    /// The outermost owner that this request's owner inherits from; 0: none.
    pub(crate) family: AtomicU64,
    pub(crate) note: Text<NOTE_WORDS>,
}

/// One entry of a resource's history.
#[repr(C)]
pub(crate) struct Kept {
    /// When it was granted or given up.
    pub(crate) at: AtomicU64,
    pub(crate) wait: AtomicU64,
    /// `u64::MAX` where nothing was held.
    pub(crate) hold: AtomicU64,
    pub(crate) token: AtomicU64,
    /// kind (8 bits), mode (8), label length (8), spare (8), pid (32).
    pub(crate) tag: AtomicU64,
}

/// History and histograms of one resource. There are fewer of these than resources.
#[repr(C, align(64))]
pub(crate) struct Detail {
    /// Entries ever written.
    pub(crate) written: AtomicU64,
    pub(crate) kept: [Kept; OPERATIONS_KEPT as usize],
    /// The labels of the entries, apart: most requests have none, and this is written on every release.
    pub(crate) labels: [Text<LABEL_WORDS>; OPERATIONS_KEPT as usize],
    /// Waits and holds, by mode. Waits of the first bucket are not counted: they are the rest of all grants.
    pub(crate) waits: [[AtomicU32; histogram::BUCKETS]; Mode::COUNT],
    pub(crate) holds: [[AtomicU32; histogram::BUCKETS]; Mode::COUNT],
}

/// One entry of the event ring.
#[repr(C, align(64))]
pub(crate) struct EventSlot {
    /// Number of the event plus one, stored last; 0 while it is written.
    pub(crate) sequence: AtomicU64,
    pub(crate) at: AtomicU64,
    /// kind (8 bits), mode (8), label length (8), name length (8), pid (32).
    pub(crate) tag: AtomicU64,
    pub(crate) owner: AtomicU64,
    pub(crate) token: AtomicU64,
    pub(crate) elapsed: AtomicU64,
    pub(crate) label: Text<LABEL_WORDS>,
    pub(crate) name: Text<NAME_WORDS>,
}

/// "`first` was held while `second` was taken": an edge of the lock-order graph.
#[repr(C, align(64))]
pub(crate) struct Order {
    /// 0 free; else the hash of the pair.
    pub(crate) key: AtomicU64,
    /// lengths of first (8 bits), second (8), label (8), and 1 << 24 once complete.
    pub(crate) lens: AtomicU64,
    pub(crate) label: Text<LABEL_WORDS>,
    pub(crate) first: Text<NAME_WORDS>,
    pub(crate) second: Text<NAME_WORDS>,
}

macro_rules! shared {
    ($($type:ty),*) => { $(
        // SAFETY: made of atomics only, see the struct.
        unsafe impl Shared for $type {}
    )* };
}
shared!(Header, Slot, Bucket, Resource, Record, Detail, EventSlot, Order, AtomicU32, AtomicU64);

const _: () = {
    assert!(size_of::<Bucket>() == 64);
    assert!(size_of::<Resource>() == 512);
    assert!(size_of::<Tally>() == 64);
    assert!(size_of::<Record>() == 256);
    assert!(size_of::<Slot>() == 512);
    assert!(size_of::<Header>() <= 4096);
};

/// How many lock-order edges are kept.
pub(crate) const ORDERS: u32 = 1024;

/// Where each region starts, in bytes.
#[derive(Clone, Copy, Debug)]
struct Offsets {
    slots: usize,
    buckets: usize,
    resource_owners: usize,
    chunk_owners: usize,
    resources: usize,
    records: usize,
    details: usize,
    events: usize,
    orders: usize,
    end: usize,
}

impl Offsets {
    fn of(geometry: Geometry) -> Offsets {
        let mut end = 4096;
        let mut region = |count: u32, size: usize| {
            let start = end;
            end += (count as usize * size).next_multiple_of(4096);
            start
        };
        Offsets {
            slots: region(geometry.slots, size_of::<Slot>()),
            buckets: region(geometry.buckets, size_of::<Bucket>()),
            resource_owners: region(geometry.resources, 4),
            chunk_owners: region(geometry.chunks, 8),
            resources: region(geometry.resources, size_of::<Resource>()),
            records: region(geometry.records(), size_of::<Record>()),
            details: region(geometry.details, size_of::<Detail>()),
            events: region(geometry.events, size_of::<EventSlot>()),
            orders: region(ORDERS, size_of::<Order>()),
            end,
        }
    }
}

/// An impossible index or state: the table was written by a process that breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) &'static str);

pub(crate) type Checked<T> = Result<T, Violation>;

/// The mapping seen through the layout. Every access is bounds-checked.
#[derive(Debug)]
pub(crate) struct Layout {
    mapping: Mapping,
    geometry: Geometry,
    offsets: Offsets,
}

impl Layout {
    pub(crate) fn size_of(geometry: Geometry) -> usize {
        Offsets::of(geometry).end
    }

    /// `None` if the mapping has not the size the geometry asks for.
    pub(crate) fn new(mapping: Mapping, geometry: Geometry) -> Option<Layout> {
        let offsets = Offsets::of(geometry);
        let layout =
            (geometry.is_sound() && mapping.len() == offsets.end).then_some(Layout { mapping, geometry, offsets })?;
        layout.prefer_large_pages();
        Some(layout)
    }

    /// What many names take, a page each, is spread over more pages than a processor remembers the
    /// addresses of. These regions are filled from their start, so that large pages behind the first
    /// few megabytes cost a small table nothing and a large one little.
    fn prefer_large_pages(&self) {
        const SMALL: usize = 2 << 20;
        for (start, end) in
            [(self.offsets.resources, self.offsets.records), (self.offsets.details, self.offsets.events)]
        {
            if end - start > SMALL {
                self.mapping.prefer_large(start + SMALL, end - start - SMALL);
            }
        }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    #[inline]
    fn entry<T: Shared>(&self, region: usize, count: u32, index: u32, what: &'static str) -> Checked<&T> {
        if index >= count {
            return Err(Violation(what));
        }
        // SAFETY: `region` is page aligned and holds `count` entries of `T`, all inside the mapping
        // (`Offsets::of`, and `Layout::new` compared the sizes); `index` is below `count`.
        Ok(unsafe { self.mapping.at_unchecked(region + index as usize * size_of::<T>()) })
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: a layout is larger than its header (`Layout::new`), and offset 0 is aligned (M1).
        unsafe { self.mapping.at_unchecked(0) }
    }

    pub(crate) fn slot(&self, index: u32) -> Checked<&Slot> {
        self.entry(self.offsets.slots, self.geometry.slots, index, "slot index")
    }

    #[inline]
    pub(crate) fn bucket(&self, index: u32) -> Checked<&Bucket> {
        self.entry(self.offsets.buckets, self.geometry.buckets, index, "bucket index")
    }

    #[inline]
    pub(crate) fn bucket_of(&self, hash: u64) -> u32 {
        hash as u32 & (self.geometry.buckets - 1)
    }

    /// T2: the bucket (plus one) that owns a resource entry; 0 free.
    pub(crate) fn resource_owner(&self, index: u32) -> Checked<&AtomicU32> {
        self.entry(self.offsets.resource_owners, self.geometry.resources, index, "resource owner index")
    }

    /// T3: generation << 32 | slot + 1; 0 free.
    pub(crate) fn chunk_owner(&self, index: u32) -> Checked<&AtomicU64> {
        self.entry(self.offsets.chunk_owners, self.geometry.chunks, index, "chunk index")
    }

    #[inline]
    pub(crate) fn resource(&self, index: u32) -> Checked<&Resource> {
        self.entry(self.offsets.resources, self.geometry.resources, index, "resource index")
    }

    /// Begins to load what a request for a resource reads and writes, all lines at once.
    #[inline]
    pub(crate) fn prefetch_resource(&self, index: u32) {
        if let Ok(resource) = self.resource(index) {
            prefetch(resource);
            prefetch(&resource.tallies[0]);
            prefetch(&resource.tallies[1]);
            prefetch(&resource.name);
            if let Ok(owner) = self.resource_owner(index) {
                prefetch(owner);
            }
        }
    }

    #[inline]
    pub(crate) fn record(&self, index: u32) -> Checked<&Record> {
        self.entry(self.offsets.records, self.geometry.records(), index, "record index")
    }

    pub(crate) fn detail(&self, index: u32) -> Checked<&Detail> {
        self.entry(self.offsets.details, self.geometry.details, index, "detail index")
    }

    pub(crate) fn event(&self, number: u64) -> Checked<&EventSlot> {
        let index = number as u32 & (self.geometry.events - 1);
        self.entry(self.offsets.events, self.geometry.events, index, "event index")
    }

    pub(crate) fn order(&self, index: u32) -> Checked<&Order> {
        self.entry(self.offsets.orders, ORDERS, index, "order index")
    }

    /// Of a private table, before this process relies on finding it blank.
    pub(crate) fn blank_in_child(&self) {
        self.mapping.blank_in_child();
    }

    pub(crate) fn populate_chunk(&self, index: u32) -> std::io::Result<()> {
        let len = RECORDS_PER_CHUNK as usize * size_of::<Record>();
        self.mapping.populate(self.offsets.records + index as usize * len, len)
    }

    pub(crate) fn populate_resource(&self, index: u32) -> std::io::Result<()> {
        let len = size_of::<Resource>();
        self.mapping.populate(self.offsets.resources + index as usize * len, len)
    }

    pub(crate) fn populate_detail(&self, index: u32) -> std::io::Result<()> {
        let len = size_of::<Detail>();
        self.mapping.populate(self.offsets.details + index as usize * len, len)
    }

    /// How much of a table's file takes room from the start.
    pub(crate) fn fixed_size(geometry: Geometry) -> usize {
        let offsets = Offsets::of(geometry);
        offsets.resources + (offsets.end - offsets.events)
    }

    /// Everything that is touched without asking, so that a full file system is an error when the
    /// table is made and not a SIGBUS later. Resources, records and details follow as they are used.
    pub(crate) fn populate_fixed(&self) -> std::io::Result<()> {
        self.mapping.populate(0, self.offsets.resources)?;
        self.mapping.populate(self.offsets.events, self.offsets.end - self.offsets.events)
    }
}

/// An index stored plus one: `None` for 0.
#[inline]
pub(crate) fn linked(link: u32) -> Option<u32> {
    link.checked_sub(1)
}

/// A 32-bit word inside an array of 64-bit words, by byte offset.
pub(crate) fn half<const N: usize>(words: &[AtomicU64; N], offset: usize) -> Option<&AtomicU32> {
    if offset + 4 > N * 8 || !offset.is_multiple_of(4) {
        return None;
    }
    let start = words.as_ptr().cast::<AtomicU32>();
    // SAFETY: in bounds and aligned (checked); both views are atomic, and no code of ours accesses
    // the same bytes through the 64-bit view while others may use the 32-bit one: the array is the
    // C library's mutex, cleared only before its slot is published.
    Some(unsafe { &*start.add(offset / 4) })
}
