//! Request records: taking and returning them.
//!
//! A chunk of records belongs to one process (T3), so taking a record touches nothing shared; each
//! thread keeps a few, so it touches nothing that another thread touches either. A dead process's
//! records are found by its chunks.

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

use crate::{
    engine::table::{
        Table,
        map::{
            geometry::Geometry,
            layout::{Checked, RECORDS_PER_CHUNK},
            word::{State, Word},
        },
        process::attach::Attachment,
    },
    os::fork_generation::ForkGeneration,
    words::{
        error::{Error, ErrorKind},
        mode::Mode,
    },
};

/// How many free records a thread keeps for itself.
const KEPT: usize = 32;

/// Free records of this process that no thread keeps.
pub(crate) struct Pool {
    free: Mutex<Vec<u32>>,
    process: ForkGeneration,
    /// With more free records than this, whole chunks go back to the table.
    surplus: usize,
    /// How many a thread keeps, `KEPT` at most.
    kept: usize,
}

/// A thread's free records, all of one pool: that of the table it used last. Needs no destructor,
/// so that reaching it costs one instruction; `JANITOR` is its destructor.
struct Cache {
    /// The pool, only to be compared with; `JANITOR` keeps it alive.
    pool: Cell<*const Pool>,
    records: [Cell<u32>; KEPT],
    count: Cell<usize>,
}

thread_local! {
    static CACHE: Cache = const {
        Cache { pool: Cell::new(std::ptr::null()), records: [const { Cell::new(0) }; KEPT], count: Cell::new(0) }
    };
    static JANITOR: Janitor = const { Janitor(RefCell::new(None)) };
}

/// Gives a thread's records back when the thread ends, or goes to another table.
struct Janitor(RefCell<Option<Arc<Pool>>>);

impl Janitor {
    /// Makes this thread keep records of `pool` from now on.
    fn serve(&self, pool: &Arc<Pool>) {
        let mut mine = self.0.borrow_mut();
        if let Some(old) = mine.take() {
            CACHE.with(|cache| cache.return_to(&old));
        }
        *mine = Some(Arc::clone(pool));
        CACHE.with(|cache| {
            cache.count.set(0);
            cache.pool.set(Arc::as_ptr(pool));
        });
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        if let Some(pool) = self.0.borrow_mut().take() {
            CACHE.with(|cache| {
                cache.return_to(&pool);
                cache.pool.set(std::ptr::null());
            });
        }
    }
}

impl Cache {
    #[inline]
    fn serves(&self, pool: &Arc<Pool>) -> bool {
        std::ptr::eq(self.pool.get(), Arc::as_ptr(pool))
    }

    #[inline]
    fn pop(&self) -> Option<u32> {
        let count = self.count.get().checked_sub(1)?;
        self.count.set(count);
        self.records.get(count).map(Cell::get)
    }

    /// `false` if it is full.
    #[inline]
    fn push(&self, record: u32, most: usize) -> bool {
        let count = self.count.get();
        let Some(place) = self.records.get(count).filter(|_| count < most) else { return false };
        place.set(record);
        self.count.set(count + 1);
        true
    }

    fn return_to(&self, pool: &Pool) {
        // A forked child inherits this cache: its parent's records are none of its business, and
        // the parent's lock may be held by a thread that does not exist here.
        if pool.process.is_current() {
            pool.free().extend(self.records[..self.count.get()].iter().map(Cell::get));
        }
        self.count.set(0);
    }
}

impl Pool {
    /// The larger the table, the more may lie idle in one process: a 256th of all records.
    pub(crate) fn new(geometry: Geometry) -> Pool {
        let records = geometry.records() as usize;
        Pool {
            free: Mutex::default(),
            process: ForkGeneration::current(),
            surplus: (records / 256).clamp(16, 512),
            kept: (records / 1024).clamp(2, KEPT),
        }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a free record of those that this thread keeps.
#[inline]
pub(crate) fn take_kept(me: &Attachment) -> Option<u32> {
    CACHE.with(|cache| if cache.serves(&me.pool) { cache.pop() } else { None })
}

impl Table {
    /// Takes a free record.
    #[inline]
    pub(crate) fn take_record(&self, me: &Attachment) -> Result<u32, Error> {
        match take_kept(me) {
            Some(record) => Ok(record),
            None => self.take_record_from_pool(me),
        }
    }

    #[cold]
    fn take_record_from_pool(&self, me: &Attachment) -> Result<u32, Error> {
        if me.pool.free().is_empty() {
            let chunk = self.claim_chunk(me)?;
            let first = chunk * RECORDS_PER_CHUNK;
            me.pool.free().extend((first..first + RECORDS_PER_CHUNK).rev());
        }
        self.serve_thread(me);
        let mut free = me.pool.free();
        let Some(record) = free.pop() else {
            drop(free);
            return self.take_record_from_pool(me);
        };
        CACHE.with(|cache| {
            while cache.serves(&me.pool) && cache.count.get() < me.pool.kept / 2 {
                let Some(more) = free.pop() else { break };
                cache.push(more, me.pool.kept);
            }
        });
        Ok(record)
    }

    /// Makes this thread keep records of this table, unless it is ending.
    fn serve_thread(&self, me: &Attachment) {
        if !CACHE.with(|cache| cache.serves(&me.pool)) {
            // An error means that the thread is ending: then it keeps none.
            let _ = JANITOR.try_with(|janitor| janitor.serve(&me.pool));
        }
    }

    /// Returns a record. Its word must be free.
    #[inline]
    pub(crate) fn return_record(&self, me: &Attachment, record: u32) {
        if !CACHE.with(|cache| cache.serves(&me.pool) && cache.push(record, me.pool.kept)) {
            self.return_record_to_pool(me, record);
        }
    }

    #[cold]
    fn return_record_to_pool(&self, me: &Attachment, record: u32) {
        self.serve_thread(me);
        CACHE.with(|cache| {
            if cache.serves(&me.pool) {
                // All of them: one that a thread kept for ever would keep its whole chunk.
                cache.return_to(&me.pool);
            }
        });
        me.pool.free().push(record);
        if self.return_chunks(me).is_err() {
            self.count_damage();
        }
    }

    /// Gives chunks that are wholly free back to the table, once there are many: a burst of
    /// waiters in one process must not use up the table for the others.
    fn return_chunks(&self, me: &Attachment) -> Checked<()> {
        let mut free = me.pool.free();
        if free.len() <= me.pool.surplus {
            return Ok(());
        }
        free.sort_unstable();
        let mut left = free.len();
        let mut kept = Vec::with_capacity(left);
        for records in free.chunk_by(|a, b| a / RECORDS_PER_CHUNK == b / RECORDS_PER_CHUNK) {
            let chunk = records[0] / RECORDS_PER_CHUNK;
            let is_whole = records.len() == RECORDS_PER_CHUNK as usize;
            if is_whole && left - records.len() >= me.pool.surplus / 2 {
                left -= records.len();
                self.layout.chunk_owner(chunk)?.store(0, Release);
                self.layout.header().counters.chunk_hint.fetch_min(chunk, Relaxed);
            } else {
                kept.extend_from_slice(records);
            }
        }
        *free = kept;
        Ok(())
    }

    /// Claims a free chunk for this process; if there is none, cleans up after dead processes and retries.
    fn claim_chunk(&self, me: &Attachment) -> Result<u32, Error> {
        if let Some(chunk) = self.claim_free_chunk(me)? {
            return Ok(chunk);
        }
        self.reap_all(me)?;
        self.claim_free_chunk(me)?.ok_or_else(|| {
            Error::new(
                ErrorKind::Full,
                format!("{}: all {} requests are held or waiting", self.url, self.layout.geometry().records()),
            )
        })
    }

    fn claim_free_chunk(&self, me: &Attachment) -> Result<Option<u32>, Error> {
        let counters = &self.layout.header().counters;
        let chunks = self.layout.geometry().chunks;
        let start = counters.chunk_hint.load(Relaxed) % chunks;
        for chunk in (start..chunks).chain(0..start) {
            let owner = self.layout.chunk_owner(chunk)?;
            if owner.load(Relaxed) != 0 || owner.compare_exchange(0, me.key(), AcqRel, Relaxed).is_err() {
                continue;
            }
            counters.chunks_used.fetch_max(chunk + 1, AcqRel);
            counters.chunk_hint.store(chunk + 1, Relaxed);
            if self.layout.populate_chunk(chunk).is_err() {
                owner.store(0, Relaxed);
                return Err(Error::new(
                    ErrorKind::Full,
                    format!("{}: no memory for more requests; make room where the table lies", self.url),
                ));
            }
            for index in 0..RECORDS_PER_CHUNK {
                let record = self.layout.record(chunk * RECORDS_PER_CHUNK + index)?;
                // A start that no copy of an old guard knows, so that none can meet a new word by chance.
                let sequence = record.word().sequence().wrapping_add(owner_salt(me, chunk, index));
                record.commit(Word::new(State::Free, Mode::Read, me.slot, sequence));
            }
            return Ok(Some(chunk));
        }
        Ok(None)
    }

    /// Frees the chunks of dead processes, whose records are free by now.
    pub(crate) fn free_chunks(&self, dead: impl Fn(u64) -> bool) -> Result<(), Error> {
        let counters = &self.layout.header().counters;
        for chunk in 0..self.chunks_used() {
            let owner = self.layout.chunk_owner(chunk)?;
            let key = owner.load(Acquire);
            if key != 0 && dead(key) && owner.compare_exchange(key, 0, AcqRel, Relaxed).is_ok() {
                counters.chunk_hint.fetch_min(chunk, Relaxed);
            }
        }
        Ok(())
    }

    /// Chunks that may be in use: below this index.
    pub(crate) fn chunks_used(&self) -> u32 {
        self.layout.header().counters.chunks_used.load(Acquire).min(self.layout.geometry().chunks)
    }
}

fn owner_salt(me: &Attachment, chunk: u32, index: u32) -> u32 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one((me.generation, chunk, index)) as u32
}

impl Attachment {
    /// This process as chunk owners name it (T3).
    pub(crate) fn key(&self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot + 1)
    }
}
