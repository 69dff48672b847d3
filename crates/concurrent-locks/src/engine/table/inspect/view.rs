//! Inspection: the requests in the table, read by any process without the help of others.
//!
//! Scans over all records take no lock: they read the word, the fields, the word again, and skip records
//! that changed in between. `look.rs` decides which process reads in which way.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::{
    engine::table::{
        Table,
        bucket::queue::Queue,
        inspect::look::Look,
        machine::clock::Times,
        map::{
            layout::{Checked, LABEL_WORDS, NOTE_WORDS, Record, Violation, linked},
            text::text_of,
            word::{State, Word},
        },
        process::attach::Attachment,
    },
    os::owner_id::label_text,
    rule::grant::Rank,
    words::{
        error::Error,
        name::Name,
        owner_id::OwnerId,
        status::{Holder, NoToken, ProcessState, StatusMap, Waiter},
    },
};

/// One request as it was seen: plain words, so that it can be copied under a bucket's lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) record: u32,
    pub(crate) word: Word,
    pub(crate) resource: u32,
    pub(crate) rank: Rank,
    pub(crate) ticket: u64,
    pub(crate) owner: u64,
    /// See [`Record::root_owner`].
    pub(crate) root_owner: u64,
    pub(crate) token: u64,
    pub(crate) requested: u64,
    pub(crate) granted: u64,
    pub(crate) priority: i8,
    label: ([u64; LABEL_WORDS], usize),
    note: ([u64; NOTE_WORDS], usize),
}

impl Table {
    pub(crate) fn times(&self) -> Times {
        Times::of(self.clock, &self.on_the_wall)
    }

    /// Every request that `wanted` (a resource's index) accepts.
    pub(crate) fn requests(&self, wanted: impl Fn(u32) -> bool) -> Checked<Vec<Seen>> {
        let mut seen = Vec::new();
        for index in self.used_records() {
            let index = index?;
            let record = self.layout.record(index)?;
            // A record that keeps changing is being used again and again: it is skipped, as if the
            // look had fallen between two uses.
            for _ in 0..4 {
                let word = record.word();
                let Some(resource) = linked(record.resource.load(Relaxed)) else { break };
                if word.state() == State::Free || !wanted(resource) {
                    break;
                }
                let candidate = Seen::read(index, word, resource, record);
                if record.word() == word && record.ticket.load(Acquire) == candidate.ticket {
                    seen.push(candidate);
                    break;
                }
            }
        }
        Ok(seen)
    }

    /// The index of a name, if it is known.
    pub(crate) fn index_of(&self, me: &Attachment, name: Name<'_>) -> Result<Option<u32>, Error> {
        self.with_bucket(me, self.layout.bucket_of(name.hash()), |locked| self.find(locked, name))
    }

    /// Indices and names of all known resources.
    pub(crate) fn known(&self) -> Checked<Vec<(u32, String)>> {
        let mut known = Vec::new();
        for index in 0..self.resources_used() {
            let resource = self.layout.resource(index)?;
            if self.layout.resource_owner(index)?.load(Acquire) != 0 && resource.name_len.load(Acquire) != 0 {
                known.push((index, resource.name_text()));
            }
        }
        Ok(known)
    }

    pub(crate) fn status_of(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        Look::at(self)?.status(name)
    }

    /// The queue of one resource at one moment: copied under its bucket's lock, into room that was
    /// made before.
    pub(crate) fn queue_at(&self, me: &Attachment, index: u32) -> Result<Vec<Seen>, Error> {
        let resource = self.layout.resource(index)?;
        let bucket = self.layout.bucket_of(resource.hash.load(Relaxed));
        let mut seen = Vec::new();
        loop {
            let mut needed = 0;
            self.with_bucket(me, bucket, |_| {
                seen.clear();
                needed = 0;
                for entry in Queue::of(self, index)?.starting_at(&resource.head) {
                    let (record_index, record) = entry?;
                    needed += 1;
                    if seen.len() < seen.capacity() {
                        seen.push(Seen::read(record_index, record.word(), index, record));
                    }
                }
                Ok(())
            })?;
            if needed == seen.len() {
                return Ok(seen);
            }
            seen.reserve(needed + needed / 8);
        }
    }

    pub(crate) fn holder(&self, seen: Seen, times: &Times, process: ProcessState) -> Holder {
        let (pid, host) = self.process_of(seen.word.slot());
        Holder {
            owner: Some(OwnerId(seen.owner)),
            label: seen.label(pid),
            pid,
            host,
            mode: seen.word.mode(),
            since: Some(times.wall(seen.granted)),
            held: times.since(seen.granted),
            priority: seen.priority,
            token: seen.token,
            note: seen.note(),
            process,
            silence: None,
        }
    }

    pub(crate) fn waiter(&self, seen: Seen, times: &Times, process: ProcessState) -> Waiter {
        let (pid, host) = self.process_of(seen.word.slot());
        Waiter {
            owner: Some(OwnerId(seen.owner)),
            label: seen.label(pid),
            pid,
            host,
            mode: seen.word.mode(),
            since: Some(times.wall(seen.requested)),
            waited: times.since(seen.requested),
            priority: seen.priority,
            no_token: NoToken,
            note: seen.note(),
            process,
        }
    }

    /// Pid and host of a slot, as it calls itself.
    pub(crate) fn process_of(&self, slot: u32) -> (u32, String) {
        self.layout.slot(slot).map_or((0, String::new()), |slot| {
            let host_len = (slot.text_lens.load(Relaxed) >> 8 & 0xff).min(64) as usize;
            (slot.pid.load(Relaxed), slot.host.load(host_len))
        })
    }

    /// The holders of a resource and the tickets of its waiters, in order: for the error of a busy lock.
    pub(crate) fn holders_and_tickets(&self, name: &str) -> Result<(Vec<Holder>, Vec<u64>), Error> {
        let me = self.me()?;
        let name = Name::new(name).map_err(|_| Violation("a resource's name"))?;
        let Some(index) = self.index_of(me, name)? else { return Ok(Default::default()) };
        let seen = self.queue_at(me, index)?;
        let tickets = seen.iter().filter(|seen| seen.word.state() == State::Waiting).map(|seen| seen.ticket).collect();
        let times = self.times();
        let held = seen.into_iter().filter(|seen| seen.word.state() == State::Held);
        // Whether they live is not asked: that is a system call each, and this is the price of every busy lock.
        Ok((held.map(|seen| self.holder(seen, &times, ProcessState::Unknown)).collect(), tickets))
    }
}

impl Seen {
    fn read(index: u32, word: Word, resource: u32, record: &Record) -> Seen {
        Seen {
            record: index,
            word,
            resource,
            rank: record.rank(),
            ticket: record.ticket.load(Acquire),
            owner: record.owner.load(Relaxed),
            root_owner: record.root_owner(),
            token: record.token.load(Relaxed),
            requested: record.requested.load(Relaxed),
            granted: record.granted.load(Relaxed),
            priority: record.priority(),
            label: (record.label.words(), record.label_len()),
            note: (record.note.words(), record.note_len()),
        }
    }

    /// The owner's label as it is shown.
    pub(crate) fn label(&self, pid: u32) -> String {
        label_text(text_of(&self.label.0, self.label.1), pid)
    }

    fn note(&self) -> String {
        text_of(&self.note.0, self.note.1)
    }
}
