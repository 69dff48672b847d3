//! Geometry: how many of everything a table has.

use crate::engine::table::map::layout::RECORDS_PER_CHUNK;

/// How many of everything there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) slots: u32,
    pub(crate) buckets: u32,
    pub(crate) resources: u32,
    pub(crate) chunks: u32,
    pub(crate) details: u32,
    pub(crate) events: u32,
}

impl Geometry {
    /// 131,072 resources, 131,072 requests, 1,024 processes: 140 MiB of addresses, of which only
    /// what is used takes memory.
    pub(crate) const DEFAULT: Geometry =
        Geometry { slots: 1024, buckets: 65_536, resources: 131_072, chunks: 8192, details: 2048, events: 8192 };

    /// Room for so many resources; buckets, detail blocks and all follow.
    pub(crate) fn with_resources(self, resources: u32) -> Option<Geometry> {
        let buckets = (resources / 2).max(1).checked_next_power_of_two()?;
        Some(Geometry { resources, buckets, details: self.details.min(resources), ..self }).filter(|new| new.is_sound())
    }

    /// Room for so many requests held or waiting, rounded up to whole chunks of 16.
    pub(crate) fn with_requests(self, requests: u32) -> Option<Geometry> {
        Some(Geometry { chunks: requests.div_ceil(RECORDS_PER_CHUNK), ..self }).filter(|new| new.is_sound())
    }

    pub(crate) fn with_processes(self, processes: u32) -> Option<Geometry> {
        Some(Geometry { slots: processes, ..self }).filter(|new| new.is_sound())
    }

    pub(crate) fn from_words(words: [u32; 6]) -> Geometry {
        let [slots, buckets, resources, chunks, details, events] = words;
        Geometry { slots, buckets, resources, chunks, details, events }
    }

    pub(crate) fn words(self) -> [u32; 6] {
        [self.slots, self.buckets, self.resources, self.chunks, self.details, self.events]
    }

    /// Whether the numbers can be a table's: what makes all later index arithmetic safe.
    pub(crate) fn is_sound(self) -> bool {
        (1..=32_767).contains(&self.slots)
            && self.buckets.is_power_of_two()
            && self.buckets <= 1 << 24
            && (1..=1 << 26).contains(&self.resources)
            && (1..=1 << 22).contains(&self.chunks)
            && self.details <= 1 << 22
            && self.events.is_power_of_two()
            && self.events <= 1 << 22
    }

    pub(crate) fn records(self) -> u32 {
        self.chunks * RECORDS_PER_CHUNK
    }
}
