//! [`ReaderElection`]: which callers wait for which answer, and which one reads. Plain state under one short lock.

use std::{collections::VecDeque, mem, thread::Thread, time::Instant};

use super::{Answer, inbox::Inbox};

/// How far the link is.
pub(super) enum Phase {
    Open,
    /// A thread notifies everybody that it is broken.
    Ending(String),
    /// Everybody has been notified.
    Over(String),
}

/// The thread of the link that reads while futures wait.
pub(super) enum ReaderThread {
    None,
    /// It will check the state of the link by itself.
    Starting,
    Running(Thread),
}

pub(super) struct ReaderElection {
    pub(super) phase: Phase,
    /// The callbacks of the outstanding answers, the oldest first.
    pub(super) answers: VecDeque<Answer>,
    /// When the last answer came, or the first was waited for again.
    progress: Instant,
    /// Whether calls are kept back for the next write.
    pub(super) kept: bool,
    /// The role of the reader: the thread that takes the inboxes out reads for all.
    pub(super) role: Option<Vec<Inbox>>,
    /// Blocked threads that do not read.
    pub(super) followers: Vec<Thread>,
    pub(super) reader_thread: ReaderThread,
    /// How many `Attention`s live, and how many there ever were.
    pub(super) attending: usize,
    pub(super) attended: u64,
}

/// Who must be notified that nobody reads.
#[must_use]
pub(super) enum Next {
    Nobody,
    Wake(Thread),
    WakeAll(Vec<Thread>),
    StartReaderThread,
}

impl ReaderElection {
    pub(super) fn new(inboxes: Vec<Inbox>) -> ReaderElection {
        ReaderElection {
            phase: Phase::Open,
            answers: VecDeque::new(),
            progress: Instant::now(),
            kept: false,
            role: Some(inboxes),
            followers: Vec::new(),
            reader_thread: ReaderThread::None,
            attending: 0,
            attended: 0,
        }
    }

    /// One more answer is waited for.
    pub(super) fn expect(&mut self, answer: Answer) {
        if self.answers.is_empty() {
            self.progress = Instant::now();
        }
        self.answers.push_back(answer);
    }

    /// The answer that has come now.
    pub(super) fn answered(&mut self) -> Option<Answer> {
        self.progress = Instant::now();
        self.answers.pop_front()
    }

    /// Since when an answer is waited for and none has come.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        (!self.answers.is_empty()).then_some(self.progress)
    }

    /// Why the link has ended, if it has.
    pub(super) fn ended(&self) -> Option<&str> {
        match &self.phase {
            Phase::Open => None,
            Phase::Ending(why) | Phase::Over(why) => Some(why),
        }
    }

    /// Whether nobody will be notified any more: the end has been reported, and no reader is left to report anything.
    pub(super) fn all_told(&self) -> bool {
        matches!(self.phase, Phase::Over(_)) && self.role.is_some()
    }

    /// Who should read, if nobody does (W2), or know that nobody will (W5). The last who came: its answer is the likeliest not to have come yet.
    pub(super) fn next(&mut self) -> Next {
        if self.all_told() {
            return Next::WakeAll(mem::take(&mut self.followers));
        }
        if self.role.is_none() || self.ended().is_some() {
            return Next::Nobody;
        }
        if let Some(follower) = self.followers.last() {
            return Next::Wake(follower.clone());
        }
        if self.attending == 0 {
            return Next::Nobody;
        }
        match &self.reader_thread {
            ReaderThread::Running(thread) => Next::Wake(thread.clone()),
            ReaderThread::Starting => Next::Nobody,
            ReaderThread::None => {
                self.reader_thread = ReaderThread::Starting;
                Next::StartReaderThread
            }
        }
    }
}
