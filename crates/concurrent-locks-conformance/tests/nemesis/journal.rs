//! What a process writes down, line by line, and what that says it believed.

use std::{collections::BTreeMap, fmt, str::FromStr};

use concurrent_locks::Mode;
use concurrent_locks_conformance::history::{Outcome, Record};

/// Something that happened to one request, which has a number within its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) request: u64,
    pub(crate) event: Event,
}

/// Times are those of the history's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Just before it was asked for.
    Asked { name: String, mode: Mode, owner: u64, at: u64 },
    /// It has its place in the queue.
    Placed { at: u64 },
    /// The grant was seen; its lease runs until then.
    Granted { token: u64, at: u64, until: u64 },
    /// Asked at that moment, the lease runs until then.
    Until { at: u64, until: u64 },
    /// The process was notified that it is lost.
    Lost { at: u64 },
    /// Just before it was released, and whether the server confirmed that it was still held.
    Released { at: u64, confirmed: bool },
    /// It was not granted.
    Failed { why: String },
}

/// What one process has written.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    requests: BTreeMap<u64, Story>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) name: String,
    pub(crate) mode: Mode,
    pub(crate) owner: u64,
    asked: u64,
    placed: Option<u64>,
    pub(crate) grant: Option<Grant>,
    failed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) token: u64,
    pub(crate) at: u64,
    pub(crate) until: u64,
    /// When it last asked for that, and had time left.
    asked: u64,
    pub(crate) lost: Option<u64>,
    pub(crate) released: Option<(u64, bool)>,
}

/// Until when a process took a lock for its own: until it released it, was notified of its loss, or knew that
/// the lease had expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Belief {
    /// No more than that.
    Told,
    /// And a release that succeeds says that it was held all the time, whatever the process believed. After a new
    /// connection it says less: that a release was heard before the answer was lost.
    Confirmed,
    /// Only as long as it asked, and the answer was that the lease runs: for those who are stopped while something
    /// happens that shortens it.
    Asked,
}

impl Journal {
    pub(crate) fn note(&mut self, entry: Entry) {
        if let Event::Asked { name, mode, owner, at } = entry.event {
            let story = Story { name, mode, owner, asked: at, placed: None, grant: None, failed: false };
            self.requests.insert(entry.request, story);
            return;
        }
        let story = self.requests.get_mut(&entry.request).expect("it was asked for");
        let grant = story.grant.as_mut();
        match entry.event {
            Event::Asked { .. } => {}
            Event::Placed { at } => story.placed = Some(at),
            Event::Granted { token, at, until } => {
                story.grant = Some(Grant { token, at, until, asked: at, lost: None, released: None });
            }
            Event::Until { at, until } => {
                let grant = grant.expect("it was granted");
                (grant.asked, grant.until) = (at, until);
            }
            Event::Lost { at } => {
                grant.expect("it was granted").lost.get_or_insert(at);
            }
            Event::Released { at, confirmed } => grant.expect("it was granted").released = Some((at, confirmed)),
            Event::Failed { .. } => story.failed = true,
        }
    }

    pub(crate) fn stories(&self) -> impl Iterator<Item = &Story> {
        self.requests.values()
    }

    /// Those that have no end yet.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Story> {
        self.stories().filter(|story| match &story.grant {
            Some(grant) => grant.released.is_none(),
            None => !story.failed,
        })
    }

    /// What became of everything. `died`: the process was killed after this moment.
    pub(crate) fn records(&self, died: Option<u64>, belief: Belief) -> Vec<Record> {
        self.stories().map(|story| story.record(died, belief)).collect()
    }
}

impl Story {
    fn record(&self, died: Option<u64>, belief: Belief) -> Record {
        let outcome = match &self.grant {
            Some(grant) => Outcome::Held { token: grant.token, from: grant.at, to: grant.believed(died, belief) },
            None => Outcome::GaveUp,
        };
        // Whoever does not know its place may have got it only with the grant.
        let placed = self.placed.or(self.grant.map(|grant| grant.at)).unwrap_or(u64::MAX);
        Record { name: self.name.clone(), mode: self.mode, owner: self.owner, asked: self.asked, placed, outcome }
    }
}

impl Grant {
    fn believed(&self, died: Option<u64>, belief: Belief) -> u64 {
        let knew = match belief {
            Belief::Asked => self.until.min(self.asked),
            Belief::Told | Belief::Confirmed => self.until,
        };
        match self.released {
            Some((at, true)) if belief == Belief::Confirmed => at,
            Some((at, _)) => at.min(knew).min(self.lost.unwrap_or(u64::MAX)),
            None => knew.min(self.lost.unwrap_or(u64::MAX)).min(died.unwrap_or(u64::MAX)),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.request)?;
        match &self.event {
            Event::Asked { name, mode, owner, at } => write!(f, "asked {name} {mode} {owner} {at}"),
            Event::Placed { at } => write!(f, "placed {at}"),
            Event::Granted { token, at, until } => write!(f, "granted {token} {at} {until}"),
            Event::Until { at, until } => write!(f, "until {at} {until}"),
            Event::Lost { at } => write!(f, "lost {at}"),
            Event::Released { at, confirmed } => write!(f, "released {at} {confirmed}"),
            Event::Failed { why } => write!(f, "failed {why}"),
        }
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(line: &str) -> Result<Entry, String> {
        let number = |word: &str| word.parse::<u64>().map_err(|error| format!("{line:?}: {error}"));
        let words: Vec<&str> = line.split(' ').collect();
        let [request, ref event @ ..] = *words else { return Err(format!("no entry: {line:?}")) };
        let event = match *event {
            ["asked", name, mode, owner, at] => Event::Asked {
                name: name.to_owned(),
                mode: if mode == "write" { Mode::Write } else { Mode::Read },
                owner: number(owner)?,
                at: number(at)?,
            },
            ["placed", at] => Event::Placed { at: number(at)? },
            ["granted", token, at, until] => {
                Event::Granted { token: number(token)?, at: number(at)?, until: number(until)? }
            }
            ["until", at, until] => Event::Until { at: number(at)?, until: number(until)? },
            ["lost", at] => Event::Lost { at: number(at)? },
            ["released", at, confirmed] => Event::Released { at: number(at)?, confirmed: confirmed == "true" },
            ["failed", why] => Event::Failed { why: why.to_owned() },
            _ => return Err(format!("no entry: {line:?}")),
        };
        Ok(Entry { request: number(request)?, event })
    }
}

#[test]
fn an_entry_survives_its_text() {
    let events = [
        Event::Asked { name: "a/b".to_owned(), mode: Mode::Write, owner: 1, at: 2 },
        Event::Placed { at: 3 },
        Event::Granted { token: 4, at: 5, until: 6 },
        Event::Until { at: 6, until: 7 },
        Event::Lost { at: 8 },
        Event::Released { at: 9, confirmed: true },
        Event::Failed { why: "TimedOut".to_owned() },
    ];
    for event in events {
        let entry = Entry { request: 10, event };
        assert_eq!(entry.to_string().parse(), Ok(entry));
    }
}

#[test]
fn a_hold_is_believed_until_the_first_word_of_its_end() {
    let grant = Grant { token: 1, at: 10, until: 50, asked: 15, lost: None, released: None };
    assert_eq!(grant.believed(None, Belief::Told), 50);
    assert_eq!(grant.believed(Some(30), Belief::Told), 30);
    assert_eq!(grant.believed(Some(30), Belief::Asked), 15);
    assert_eq!(Grant { lost: Some(20), ..grant }.believed(None, Belief::Told), 20);
    let released = |at, confirmed| Grant { released: Some((at, confirmed)), ..grant };
    assert_eq!(released(40, false).believed(None, Belief::Confirmed), 40);
    assert_eq!(released(60, false).believed(None, Belief::Confirmed), 50);
    // That of a server which has had it all the time, of which the process knew no longer.
    assert_eq!(released(60, true).believed(None, Belief::Confirmed), 60);
    assert_eq!(released(60, true).believed(None, Belief::Told), 50);
}
