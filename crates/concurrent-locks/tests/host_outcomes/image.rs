//! The table's bytes, read and patched through the file by one who does not keep the rules. What
//! lies where is repeated here from the layout on purpose: a change of layout must be noticed.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

pub(crate) const MAGIC: u64 = 0;
pub(crate) const LAYOUT: u64 = 8;
pub(crate) const STATE: u64 = 12;
pub(crate) const GEOMETRY: u64 = 16;
pub(crate) const BOOT: u64 = 56;
pub(crate) const CLOCK_SCALE: u64 = 72;

/// States of a record, in the lowest bits of its word.
pub(crate) const FREE: u64 = 0;
pub(crate) const WAITING: u64 = 1;
pub(crate) const HELD: u64 = 2;

/// A waiter's wait word while its thread sleeps, while its future waits, and once it was granted.
pub(crate) const ASLEEP: u32 = 2;
pub(crate) const ARMED: u32 = 5;
pub(crate) const GRANTED: u32 = 4;

/// Places in a record behind its word.
pub(crate) const WAIT_WORD: u64 = 8;
pub(crate) const TOKEN: u64 = 40;

/// What the lowest bits of a slot's first word say while a process lives there.
const LIVE: u32 = 1;

/// Places in a bucket: what it remembers of its names, five entries of hash and resource.
pub(crate) const KNOWN: u64 = 24;
pub(crate) const PLACES_KNOWN: u64 = 5;

const SLOT: u64 = 512;
const BUCKET: u64 = 64;
const RESOURCE: u64 = 512;
const RECORD: u64 = 256;

/// A table file as bytes.
pub(crate) struct Image {
    file: File,
}

impl Image {
    pub(crate) fn open(path: &Path) -> Image {
        Image { file: OpenOptions::new().read(true).write(true).open(path).unwrap() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.file.metadata().unwrap().len()
    }

    pub(crate) fn set_len(&self, len: u64) {
        self.file.set_len(len).unwrap();
    }

    pub(crate) fn word(&self, place: u64) -> u32 {
        let mut bytes = [0; 4];
        self.file.read_exact_at(&mut bytes, place).unwrap();
        u32::from_le_bytes(bytes)
    }

    pub(crate) fn long(&self, place: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, place).unwrap();
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn write(&self, place: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, place).unwrap();
    }

    pub(crate) fn write_word(&self, place: u64, word: u32) {
        self.write(place, &word.to_le_bytes());
    }

    pub(crate) fn write_long(&self, place: u64, long: u64) {
        self.write(place, &long.to_le_bytes());
    }

    fn geometry(&self, index: u64) -> u64 {
        self.word(GEOMETRY + 4 * index).into()
    }

    fn slot(&self, index: u64) -> u64 {
        4096 + index * SLOT
    }

    /// The slot of the process with this pid.
    pub(crate) fn slot_of(&self, pid: u32) -> u64 {
        let of_pid = |index: &u64| self.word(self.slot(*index)) & 3 == LIVE && self.word(self.slot(*index) + 8) == pid;
        (0..self.geometry(0)).find(of_pid).expect("an attached process")
    }

    /// What the short lock's word is while the process with this pid holds it.
    pub(crate) fn short_lock_of(&self, pid: u32) -> u32 {
        let slot = self.slot_of(pid);
        let generation = self.word(self.slot(slot) + 4) & 0x7fff;
        (slot as u32 + 1) << 16 | generation << 1
    }

    /// Where the bucket of a name is: its short lock comes first, its counter 8 bytes later.
    pub(crate) fn bucket_of(&self, name: &str) -> u64 {
        let bucket = xxhash_rust::xxh3::xxh3_64(name.as_bytes()) & (self.geometry(1) - 1);
        self.buckets() + bucket * BUCKET
    }

    fn buckets(&self) -> u64 {
        4096 + pages(self.geometry(0) * SLOT)
    }

    fn records(&self) -> u64 {
        let [buckets, resources, chunks] = [1, 2, 3].map(|index| self.geometry(index));
        self.buckets()
            + pages(buckets * BUCKET)
            + pages(resources * 4)
            + pages(chunks * 8)
            + pages(resources * RESOURCE)
    }

    /// Where the record is that the process with this pid holds or waits with.
    pub(crate) fn record_of(&self, pid: u32, state: u64) -> u64 {
        *self.records_of(pid, state).first().expect("a record in this state")
    }

    /// Where all of these are.
    pub(crate) fn records_of(&self, pid: u32, state: u64) -> Vec<u64> {
        let slot = self.slot_of(pid);
        let count = self.geometry(3) * 16;
        let is_it = |place: &u64| {
            let word = self.long(*place);
            word & 3 == state && word >> 16 & 0xffff == slot
        };
        (0..count).map(|index| self.records() + index * RECORD).filter(is_it).collect()
    }

    /// Commits another state to a record.
    pub(crate) fn commit(&self, record: u64, state: u64) {
        self.write_long(record, self.long(record) & !3 | state);
    }
}

fn pages(len: u64) -> u64 {
    len.next_multiple_of(4096)
}
