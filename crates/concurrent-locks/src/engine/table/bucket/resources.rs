//! Resources: finding a name in its bucket, creating it, evicting idle ones when the table is full.
//!
//! Under the bucket's lock only a few entries are tried. A search through all of them, which takes long, is
//! done without it (`find_room`), and only suggests where to try next.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::{
    engine::table::{
        Table,
        bucket::{locked::Locked, queue::Steps},
        map::layout::{Checked, PLACES_KNOWN, Resource, Violation, linked},
        process::attach::Attachment,
        protocol::short_lock,
    },
    words::name::Name,
};

/// How a resource was or was not found.
pub(crate) enum Place {
    At(u32),
    /// No entry was found by a short look: none is free or idle nearby, or there is no memory for one.
    Full,
}

/// How many entries are tried under the bucket's lock.
const TRIES: u32 = 16;
/// How many entries without memory are asked for before a search takes the file system for full.
const ASKED_FOR_MEMORY: u32 = 64;

/// What became of claiming an entry that belongs to nobody.
enum Claim {
    Ours,
    SomebodyElses,
    NoMemory,
}

impl Table {
    /// The resource of a name in a locked bucket.
    #[inline]
    pub(crate) fn find(&self, locked: &Locked<'_>, name: Name<'_>) -> Checked<Option<u32>> {
        if let Some(index) = self.remembered(locked, name) {
            return Ok(Some(index));
        }
        let found = self.search(locked, name)?;
        if let Some(index) = found {
            remember(locked, index, name);
        }
        Ok(found)
    }

    /// The resource of a name, if the bucket remembers its place.
    #[inline]
    fn remembered(&self, locked: &Locked<'_>, name: Name<'_>) -> Option<u32> {
        for known in &locked.bucket.known {
            let known = known.load(Relaxed);
            if known >> 32 == name.hash() >> 32
                && let Some(index) = linked(known as u32)
            {
                self.layout.prefetch_resource(index);
                if self.is_at(locked, index, name) {
                    return Some(index);
                }
            }
        }
        None
    }

    /// Whether a remembered place still is this name's. A hint is never trusted: it may be of long ago.
    #[inline]
    fn is_at(&self, locked: &Locked<'_>, index: u32, name: Name<'_>) -> bool {
        self.layout.resource_owner(index).is_ok_and(|owner| owner.load(Relaxed) == locked.index + 1)
            && self.layout.resource(index).is_ok_and(|resource| is_named(resource, name))
    }

    /// The resource of a name, by the bucket's chain.
    #[cold]
    fn search(&self, locked: &Locked<'_>, name: Name<'_>) -> Checked<Option<u32>> {
        let mut next = locked.bucket.first_resource.load(Relaxed);
        let mut steps = Steps::along_resources(self);
        while let Some(index) = linked(next) {
            steps.next()?;
            self.layout.prefetch_resource(index);
            let resource = self.layout.resource(index)?;
            if is_named(resource, name) {
                return Ok(Some(index));
            }
            next = resource.next.load(Relaxed);
        }
        Ok(None)
    }

    /// The resource of a name in a locked bucket, made if it is new. `hint` remembers the place.
    #[inline]
    pub(crate) fn find_or_make(
        &self,
        me: &Attachment,
        locked: &Locked<'_>,
        name: Name<'_>,
        hint: Option<&AtomicU64>,
    ) -> Checked<Place> {
        if let Some(index) = self.hinted(locked, name, hint) {
            return Ok(Place::At(index));
        }
        let place = match self.find(locked, name)? {
            Some(index) => Place::At(index),
            None => self.make(me, locked, name)?,
        };
        if let (Place::At(index), Some(hint)) = (&place, hint) {
            hint.store(u64::from(index + 1), Relaxed);
        }
        Ok(place)
    }

    /// The resource of a name in a locked bucket, where it was found before.
    #[inline]
    pub(crate) fn find_known(&self, locked: &Locked<'_>, name: Name<'_>, hint: Option<&AtomicU64>) -> Option<u32> {
        if let Some(index) = self.hinted(locked, name, hint) {
            return Some(index);
        }
        let index = self.remembered(locked, name)?;
        if let Some(hint) = hint {
            hint.store(u64::from(index + 1), Relaxed);
        }
        Some(index)
    }

    #[inline]
    fn hinted(&self, locked: &Locked<'_>, name: Name<'_>, hint: Option<&AtomicU64>) -> Option<u32> {
        let index = linked(hint?.load(Relaxed) as u32)?;
        self.is_at(locked, index, name).then_some(index)
    }

    #[cold]
    fn make(&self, me: &Attachment, locked: &Locked<'_>, name: Name<'_>) -> Checked<Place> {
        let Some(index) = self.claim_resource(me, locked)? else { return Ok(Place::Full) };
        let resource = self.layout.resource(index)?;
        resource.reset();
        resource.hash.store(name.hash(), Relaxed);
        resource.name.store(name.text());
        self.attach_detail(resource)?;
        resource.next.store(locked.bucket.first_resource.load(Relaxed), Relaxed);
        // T2: from here on a rebuild keeps it; before, it frees it.
        resource.name_len.store(name.bytes().len() as u32, Release);
        locked.bucket.first_resource.store(index + 1, Relaxed);
        remember(locked, index, name);
        Ok(Place::At(index))
    }

    /// An entry that belongs to this bucket from now on: an unused one, else a reclaimed one.
    fn claim_resource(&self, me: &Attachment, locked: &Locked<'_>) -> Checked<Option<u32>> {
        let counters = &self.layout.header().counters;
        let count = self.layout.geometry().resources;
        let next = counters.resources_used.load(Relaxed);
        // Each question that is answered "no memory" takes the kernel a while: one is enough.
        let mut has_memory = next >= count || self.layout.populate_resource(next).is_ok();
        if next < count && has_memory {
            let index = counters.resources_used.fetch_add(1, AcqRel);
            if index < count && matches!(self.claim_if_free(locked, index)?, Claim::Ours) {
                return Ok(Some(index));
            }
        }
        for _ in 0..TRIES.min(count) {
            let index = counters.resource_hand.fetch_add(1, Relaxed) % count;
            if has_memory {
                match self.claim_if_free(locked, index)? {
                    Claim::Ours => return Ok(Some(index)),
                    Claim::SomebodyElses => {}
                    Claim::NoMemory => has_memory = false,
                }
            }
            if self.reclaim(me, locked, index)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Claims an entry that belongs to nobody, if there is memory for it.
    fn claim_if_free(&self, locked: &Locked<'_>, index: u32) -> Checked<Claim> {
        let owner = self.layout.resource_owner(index)?;
        if owner.load(Relaxed) != 0 || owner.compare_exchange(0, locked.index + 1, AcqRel, Relaxed).is_err() {
            return Ok(Claim::SomebodyElses);
        }
        // It may never have been touched: in a full file system that would be a SIGBUS.
        if self.layout.populate_resource(index).is_err() {
            owner.store(0, Release);
            return Ok(Claim::NoMemory);
        }
        Ok(Claim::Ours)
    }

    /// Searches all entries, without any lock, for one that is free and has memory, or is idle, and
    /// leaves the next short look there. `false`: there is none.
    #[cold]
    pub(crate) fn find_room(&self) -> Checked<bool> {
        let hand = &self.layout.header().counters.resource_hand;
        let count = self.layout.geometry().resources;
        let start = hand.load(Relaxed) % count;
        let mut may_ask = ASKED_FOR_MEMORY;
        for index in (start..count).chain(0..start) {
            let found = if self.layout.resource_owner(index)?.load(Acquire) == 0 {
                may_ask > 0 && {
                    let has_memory = self.layout.populate_resource(index).is_ok();
                    may_ask -= u32::from(!has_memory);
                    has_memory
                }
            } else {
                let resource = self.layout.resource(index)?;
                resource.name_len.load(Relaxed) != 0 && resource.head.load(Relaxed) == 0
            };
            if found {
                hand.store(index, Relaxed);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes an idle entry from the bucket that owns it. That bucket's lock is only tried: waiting
    /// for it while holding our own could deadlock.
    fn reclaim(&self, me: &Attachment, locked: &Locked<'_>, index: u32) -> Checked<bool> {
        let owner = self.layout.resource_owner(index)?;
        let Some(other) = linked(owner.load(Acquire)) else { return Ok(false) };
        let bucket = self.layout.bucket(other)?;
        let foreign = other != locked.index;
        if foreign && !short_lock::try_lock(&bucket.lock, me.name) {
            return Ok(false);
        }
        let bucket = if foreign { Locked::held(bucket, other) } else { Locked::borrowed(bucket, other) };
        let resource = self.layout.resource(index)?;
        let idle = owner.load(Relaxed) == other + 1
            && resource.name_len.load(Relaxed) != 0
            && resource.head.load(Relaxed) == 0;
        if idle {
            self.unchain(&bucket, index)?;
            resource.name_len.store(0, Release);
            resource.generation.fetch_add(1, Relaxed);
            owner.store(locked.index + 1, Release);
            self.layout.header().counters.evicted.fetch_add(1, Relaxed);
        }
        Ok(idle)
    }

    fn unchain(&self, locked: &Locked<'_>, index: u32) -> Checked<()> {
        let after = &self.layout.resource(index)?.next;
        let mut link = &locked.bucket.first_resource;
        let mut steps = Steps::along_resources(self);
        while let Some(found) = linked(link.load(Relaxed)) {
            steps.next()?;
            if found == index {
                link.store(after.load(Relaxed), Relaxed);
                return Ok(());
            }
            link = &self.layout.resource(found)?.next;
        }
        Err(Violation("a resource is not in its bucket's chain"))
    }

    /// Resources that may be in use: below this index.
    pub(crate) fn resources_used(&self) -> u32 {
        self.layout.header().counters.resources_used.load(Acquire).min(self.layout.geometry().resources)
    }
}

/// Makes the bucket remember a place: where nothing is remembered yet, else in the place of another.
fn remember(locked: &Locked<'_>, index: u32, name: Name<'_>) {
    let known = &locked.bucket.known;
    let unused = known.iter().find(|known| known.load(Relaxed) == 0);
    let entry = unused.unwrap_or(&known[index as usize % PLACES_KNOWN]);
    entry.store(name.hash() >> 32 << 32 | u64::from(index + 1), Relaxed);
}

#[inline]
fn is_named(resource: &Resource, name: Name<'_>) -> bool {
    resource.hash.load(Relaxed) == name.hash()
        && resource.name_len.load(Relaxed) as usize == name.bytes().len()
        && resource.name.is(name.bytes())
}

impl Resource {
    fn reset(&self) {
        for link in [&self.next, &self.head, &self.tail, &self.first_waiter] {
            link.store(0, Relaxed);
        }
        self.reset_counts();
        self.window_opened.store(0, Relaxed);
        self.reset_counters();
    }

    /// Sets what is counted of its queue to nothing.
    pub(crate) fn reset_counts(&self) {
        for count in self.held.iter().chain([&self.waiters, &self.window]) {
            count.store(0, Relaxed);
        }
    }

    /// The name, read without a lock: may be torn while the entry is reused.
    pub(crate) fn name_text(&self) -> String {
        self.name.load(self.name_len.load(Acquire).min(255) as usize)
    }
}
