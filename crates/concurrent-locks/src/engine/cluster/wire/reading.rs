//! Which caller reads, and the work of the reader.

use std::{
    io,
    sync::Arc,
    thread::{self, Thread},
    time::{Duration, Instant},
};

use super::{
    Failure, Frame, Link,
    election::{Phase, ReaderThread},
    inbox::Inbox,
    socket,
};

/// How often the reader thread checks whether futures still wait; it stops when none did between two checks.
const LINGER: Duration = Duration::from_secs(1);

/// While one lives, the link's own thread reads (or a blocked thread does).
pub(crate) struct Attention(Arc<Link>);

impl Drop for Attention {
    fn drop(&mut self) {
        self.0.election().attending -= 1;
    }
}

/// How reading ended.
#[derive(PartialEq)]
enum Until {
    Done,
    /// It is not done at the deadline.
    Late,
    /// The link ends, reported by the thread that ended it.
    Ended,
}

impl Link {
    /// Blocks this thread until `done`, reading for all if nobody else does. Whose callback makes it done must
    /// unpark this thread, as it may be run by another reader. What has come already is read even
    /// if the deadline has passed. `false`: it is not done at the deadline, or at the link's end.
    pub(crate) fn wait(&self, deadline: Option<Instant>, done: &mut dyn FnMut() -> bool) -> bool {
        let mut following = Following { link: self, thread: None };
        loop {
            if done() {
                return true;
            }
            let mut election = self.election();
            match election.phase {
                Phase::Open => {}
                Phase::Over(_) if election.all_told() => {
                    drop(election);
                    return done(); // W5: reported between the check above and this one
                }
                Phase::Ending(_) | Phase::Over(_) => {
                    following.join(&mut election.followers);
                    drop(election);
                    following.sleep(None);
                    continue;
                }
            }
            if let Some(inboxes) = election.role.take() {
                following.leave(&mut election.followers);
                drop(election);
                let until = Reading { link: self, inboxes }.until(deadline, done);
                match until {
                    Until::Done => return true,
                    Until::Late => return false,
                    Until::Ended => continue,
                }
            }
            following.join(&mut election.followers);
            drop(election);
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return false;
            }
            following.sleep(deadline);
        }
    }

    /// Has a thread of the link read whatever comes, while at least one `Attention` lives.
    pub(crate) fn attend(self: &Arc<Self>) -> Attention {
        let next = {
            let mut election = self.election();
            election.attending += 1;
            election.attended += 1;
            election.next() // W4
        };
        self.tell(next);
        Attention(self.clone())
    }

    pub(super) fn start_reader_thread(&self) {
        let Some(link) = self.me.upgrade() else { return };
        let started = thread::Builder::new().name("locks-reader".into()).spawn(move || link.read_for_futures());
        if let Err(error) = started {
            self.end(&format!("no thread to read with: {error}"));
        }
    }

    fn read_for_futures(&self) {
        let mut seen = None;
        loop {
            let mut election = self.election();
            let quiet = election.attending == 0 && seen == Some(election.attended);
            if quiet || election.ended().is_some() {
                election.reader_thread = ReaderThread::None;
                return;
            }
            seen = Some(election.attended);
            election.reader_thread = ReaderThread::Running(thread::current());
            // Followers come first, one of them is on its way (W2).
            let role = if election.followers.is_empty() { election.role.take() } else { None };
            drop(election);
            match role {
                None => thread::park_timeout(LINGER),
                Some(inboxes) => seen = self.read_on(inboxes),
            }
        }
    }

    /// Reads until no future has waited for a while; how many there were until then.
    fn read_on(&self, inboxes: Vec<Inbox>) -> Option<u64> {
        let mut reading = Reading { link: self, inboxes };
        let mut seen = None;
        while reading.until(Some(Instant::now() + LINGER), &mut || false) == Until::Late {
            let election = self.election();
            if election.attending == 0 && seen == Some(election.attended) {
                break;
            }
            seen = Some(election.attended);
        }
        seen
    }
}

/// The role of the reader, put back when it is dropped.
struct Reading<'a> {
    link: &'a Link,
    inboxes: Vec<Inbox>,
}

impl Reading<'_> {
    fn until(&mut self, deadline: Option<Instant>, done: &mut dyn FnMut() -> bool) -> Until {
        let mut looked = false;
        loop {
            if let Err(why) = self.dispatch() {
                self.link.end(&why);
            }
            if done() {
                return Until::Done;
            }
            if !self.link.is_open() {
                return Until::Ended;
            }
            if looked && deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Until::Late;
            }
            looked = true;
            if let Err(why) = self.read(deadline) {
                self.link.end(&why);
            }
        }
    }

    /// Sleeps until something comes, and takes it in.
    fn read(&mut self, deadline: Option<Instant>) -> Result<(), String> {
        let lines = &self.link.lines;
        let ready = match &lines[..] {
            [line] => socket::sleep(&[line.stream.socket()], false, deadline),
            [calls, pushes, ..] => socket::sleep(&[calls.stream.socket(), pushes.stream.socket()], false, deadline),
            [] => unreachable!("a link has a channel"),
        }
        .map_err(|error| format!("cannot wait for it: {error}"))?;
        for (index, (line, inbox)) in lines.iter().zip(&mut self.inboxes).enumerate() {
            if ready & 1 << index == 0 {
                continue;
            }
            match line.stream.read(inbox.room()) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(format!("cannot read: {error}")),
            }
        }
        Ok(())
    }

    /// Delivers all complete frames. A frame is consumed before it is delivered.
    fn dispatch(&mut self) -> Result<(), String> {
        let mut kept = false;
        for (index, (line, inbox)) in self.link.lines.iter().zip(&mut self.inboxes).enumerate() {
            while !inbox.waiting().is_empty() {
                let Some((length, frame)) = line.dialect.decode(inbox.waiting()).map_err(reason_of)? else { break };
                debug_assert!(length > 0, "a frame has a length");
                inbox.consume(length);
                match frame {
                    Frame::Nothing => {}
                    Frame::Push(text) => self.link.listener.pushed(&text),
                    Frame::End(why) => return Err(why),
                    Frame::Answer(_) if index > 0 => return Err("an answer came where only pushes belong".into()),
                    Frame::Answer(result) => {
                        let answer = {
                            let mut election = self.link.election();
                            kept = election.kept;
                            election.answered()
                        };
                        match answer {
                            Some(answer) => answer(result),
                            None if !self.link.is_open() => return Ok(()),
                            None => return Err("an answer came that nobody asked for".into()),
                        }
                    }
                }
            }
        }
        if kept {
            self.link.write_kept(); // G2
        }
        Ok(())
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let (kept, next) = {
            let mut election = self.link.election();
            election.role = Some(std::mem::take(&mut self.inboxes));
            (election.kept, election.next())
        };
        self.link.tell(next); // W2
        if kept {
            self.link.write_kept(); // G2
        }
    }
}

/// A thread's place among the followers, given up when it is dropped.
struct Following<'a> {
    link: &'a Link,
    thread: Option<Thread>,
}

impl Following<'_> {
    fn join(&mut self, followers: &mut Vec<Thread>) {
        if self.thread.is_none() {
            let thread = thread::current();
            followers.push(thread.clone());
            self.thread = Some(thread);
        }
    }

    fn leave(&mut self, followers: &mut Vec<Thread>) {
        if let Some(thread) = self.thread.take() {
            followers.retain(|follower| follower.id() != thread.id());
        }
    }

    fn sleep(&self, deadline: Option<Instant>) {
        match deadline {
            None => thread::park(),
            Some(deadline) => thread::park_timeout(deadline.saturating_duration_since(Instant::now())),
        }
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        if self.thread.is_none() {
            return;
        }
        let next = {
            let mut election = self.link.election();
            self.leave(&mut election.followers);
            election.next()
        };
        self.link.tell(next); // W2
    }
}

fn reason_of(failure: Failure) -> String {
    match failure {
        Failure::Broken(why) | Failure::Refused(why) => why,
    }
}
