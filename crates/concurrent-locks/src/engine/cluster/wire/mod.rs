//! One connection to a server, shared by all threads and futures of the process.
//!
//! Any thread writes; one at a time reads for all. A blocked thread that waits for its answer takes the
//! role of the reader (the leader), so it gets its answer without a hop through another thread; other
//! waiting threads follow, and one takes over when the leader has its answer. A thread of our own reads
//! only while futures wait.
//!
//! Two locks. `output` is held while bytes are written, so calls and their answers have one order.
//! `election` is held for a few instructions, and may be taken inside `output`. Answers and pushes are
//! delivered under neither: they may call [`Link::send`]. They must not panic, nor [`Link::wait`].
//!
//! Why no follower sleeps while nobody reads:
//!
//! - **W1.** Under the lock of `election`, a thread either takes the role or, only if it is taken or the link
//!   is ending, joins the followers. It stays among them as long as it sleeps.
//! - **W2.** A thread that returns the role or leaves the followers calls `ReaderElection::next` under the same lock,
//!   and wakes the thread that it names: if the role is free and there are followers, one of them. So there
//!   is always a wake-up on its way to a follower when the role is free and there are followers, because
//!   that follower can only take the role, or leave the list and wake another.
//! - **W3.** `unpark` before `park` is not lost, and a follower checks whether it is done after every
//!   wake-up and before every sleep. Between that check and the sleep it takes nothing but the lock of
//!   `election`, so the wake-up by the callback that completes it is not lost either.
//! - **W4.** The same for futures: `attend` calls `ReaderElection::next`, which names the reader thread (the `reader_thread`)
//!   or has it started, and that thread stands aside only while somebody else reads or follows.
//! - **W5.** On a link that ends, followers sleep until all answers are delivered: by whoever ends it, and by a
//!   reader that has taken one already. The last of the two, which returns the role or sets `Phase::Over`, wakes
//!   them all (`ReaderElection::next`). So `wait` never says "not done" of what is being delivered at that moment.
//!
//! Why no call is delayed for ever ([`Pace::Gathered`]):
//!
//! - **G1.** A call is delayed only while an older one is written and unanswered and somebody reads; both
//!   are checked under the same lock of `election` under which the call joins the outstanding answers.
//! - **G2.** A reader that has delivered an answer writes the delayed calls, and so does a thread that
//!   returns the role.
//!
//! A write never waits: bytes that the system does not accept stay in `output`, and a thread that lives
//! only as long as there are such bytes writes them (**B1**; `Output::writer` says that it lives).

mod backlog;
mod dialect;
mod election;
mod inbox;
mod reading;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    thread::Thread,
    time::Duration,
};

use self::{
    backlog::Output,
    election::{Next, Phase, ReaderElection},
    inbox::Inbox,
    stream::{Conversation, Patience, Stream},
};
pub(crate) use self::{
    dialect::{Dialect, Failure, Frame, HandshakeStream, Past},
    reading::Attention,
};
use crate::{
    engine::cluster::{address::Endpoint, protocol::Call},
    os::fork_generation::ForkGeneration,
    words::error::{Error, ErrorKind},
};

/// What is done with the answer to a call.
pub(crate) type Answer = Box<dyn FnOnce(Result<String, Failure>) + Send>;

/// The notifications of a link to its engine.
pub(crate) trait Listener: Send + Sync {
    fn pushed(&self, text: &str);
    /// Exactly once, after the answers that the end leaves broken. One that came in time may be delivered after.
    fn ended(&self, why: &str);
}

/// When a call is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once, with what is kept.
    Now,
    /// At once if no answer is outstanding, else with the next write or answer (Nagle's rule).
    Gathered,
}

/// One stream to the server, and how it speaks there.
pub(crate) struct Channel {
    pub(crate) endpoint: Endpoint,
    pub(crate) dialect: Box<dyn Dialect>,
}

/// A channel after its handshake.
struct Line {
    stream: Stream,
    dialect: Box<dyn Dialect>,
}

/// The connection. Dropping it says nothing to the server: its descriptors are closed, in a forked child
/// no more than that.
pub(crate) struct Link {
    me: Weak<Link>,
    /// Calls go over the first; pushes come over any.
    lines: Vec<Line>,
    listener: Arc<dyn Listener>,
    output: Mutex<Output>,
    election: Mutex<ReaderElection>,
    open: AtomicBool,
    process: ForkGeneration,
}

impl Link {
    /// Connects and greets, in at most `patience` (the system's look-up of names apart). One or two channels.
    pub(crate) fn open(
        channels: Vec<Channel>,
        session: &str,
        listener: Arc<dyn Listener>,
        patience: Duration,
    ) -> Result<Arc<Link>, Error> {
        if channels.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "a link needs a channel"));
        }
        let patience = Patience::new(patience);
        let mut lines = Vec::new();
        let mut inboxes = Vec::new();
        for Channel { endpoint, dialect } in channels {
            let stream = Stream::connect(&endpoint, &patience)?;
            let mut input = Vec::new();
            let mut conversation = Conversation { stream: &stream, host: &endpoint.host, patience: &patience };
            dialect.handshake(&mut conversation, &mut input, session).map_err(|error| error.at(&endpoint.host))?;
            inboxes.push(Inbox::new(input));
            lines.push(Line { stream, dialect });
        }
        Ok(Arc::new_cyclic(|me| Link {
            me: me.clone(),
            lines,
            listener,
            output: Mutex::default(),
            election: Mutex::new(ReaderElection::new(inboxes)),
            open: AtomicBool::new(true),
            process: ForkGeneration::current(),
        }))
    }

    /// Looks at a server, in at most `patience`, over a connection that is closed after that.
    pub(crate) fn look(channel: &Channel, patience: Duration) -> Result<Past, Error> {
        let Channel { endpoint, dialect } = channel;
        let patience = Patience::new(patience);
        let stream = Stream::connect(endpoint, &patience)?;
        let mut conversation = Conversation { stream: &stream, host: &endpoint.host, patience: &patience };
        dialect.look(&mut conversation, &mut Vec::new()).map_err(|error| error.at(&endpoint.host))
    }

    /// Whether the server may take its end for our death.
    pub(crate) fn proves_life(&self) -> bool {
        self.lines.iter().any(|line| line.dialect.proves_life())
    }

    /// For how long the oldest call without an answer has been written, counted from the last answer.
    pub(crate) fn silent_for(&self) -> Duration {
        self.election().silent_since().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Writes the call, or keeps it for a moment, and never waits. `answer` is called exactly once: by a
    /// reader, or with `Broken` when the link ends; by this thread if it has ended or ends now.
    pub(crate) fn send(&self, call: &Call<'_>, pace: Pace, answer: Answer) {
        let mut output = self.output();
        let length = output.bytes.len();
        self.lines[0].dialect.encode(call, &mut output.bytes);
        let mut election = self.election();
        if let Some(why) = election.ended() {
            let broken = Failure::Broken(why.to_owned());
            output.bytes.truncate(length);
            drop((election, output));
            return answer(Err(broken));
        }
        let keep = pace == Pace::Gathered && !election.answers.is_empty() && election.role.is_none();
        election.expect(answer);
        election.kept = keep;
        drop(election);
        if !keep {
            self.write(output);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Acquire)
    }

    /// Whether it has ended, or one of its streams has ended and that was not read yet. Asks the system.
    pub(crate) fn has_ended(&self) -> bool {
        !self.is_open() || self.lines.iter().any(|line| line.stream.socket().has_ended())
    }

    /// Ends it: outstanding answers are `Broken`, and the listener is notified.
    pub(crate) fn close(&self) {
        self.end("it was closed");
    }

    /// G2.
    fn write_kept(&self) {
        let output = self.output();
        if mem::take(&mut self.election().kept) {
            self.write(output);
        }
    }

    /// Reported once; later calls do nothing.
    fn end(&self, why: &str) {
        let answers = {
            let mut election = self.election();
            if election.ended().is_some() {
                return;
            }
            election.phase = Phase::Ending(why.to_owned());
            election.kept = false;
            mem::take(&mut election.answers)
        };
        self.open.store(false, Release);
        if self.process.is_current() {
            // Wakes the reader and the writer.
            self.lines.iter().for_each(|line| line.stream.socket().shutdown());
        }
        for answer in answers {
            answer(Err(Failure::Broken(why.to_owned())));
        }
        self.listener.ended(why);
        let next = {
            let mut election = self.election();
            election.phase = Phase::Over(why.to_owned());
            election.next()
        };
        self.tell(next); // W5
    }

    fn tell(&self, next: Next) {
        match next {
            Next::Nobody => {}
            Next::Wake(thread) => thread.unpark(),
            Next::WakeAll(threads) => threads.iter().for_each(Thread::unpark),
            Next::StartReaderThread => self.start_reader_thread(),
        }
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn election(&self) -> MutexGuard<'_, ReaderElection> {
        self.election.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // In a forked child, the answers are its parent's.
        if self.process.is_current() {
            self.end("it is no longer used");
        }
    }
}
