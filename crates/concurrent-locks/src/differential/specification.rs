//! The grant rule again, as simply as possible: lists, sorted and searched from scratch at each step.
//! It knows nothing of ranks, walks and counts. The numbers are those of `grant.rs`.

use crate::words::mode::Mode;

/// Which of a resource's grants, in the order in which they were made, a token is for; its place in
/// [`Specification::grants`].
pub(super) type Token = usize;

/// A request, waiting or held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// From 1, in the order of arrival.
    pub(super) number: u64,
    pub(super) name: usize,
    /// Whose it is in the history's cast.
    pub(super) who: usize,
    pub(super) owner: u64,
    /// The outermost of those whose holds it shares, else its owner.
    pub(super) root_owner: u64,
    pub(super) mode: Mode,
    pub(super) priority: i8,
    /// When it came.
    pub(super) second: u8,
    /// Its owner held a weaker mode when it came.
    pub(super) upgrade: bool,
    /// While it holds.
    pub(super) token: Option<Token>,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            number: 0,
            name: 0,
            who: 0,
            owner: 0,
            root_owner: 0,
            mode: Mode::Read,
            priority: 0,
            second: 0,
            upgrade: false,
            token: None,
        }
    }
}

impl Request {
    /// Rules 1, 5 and 6: upgrades first, then by arrival, of which a priority of `p` takes off `p` seconds.
    fn place(&self) -> (bool, i16, u64) {
        let arrival = if self.upgrade { 0 } else { i16::from(self.second) - i16::from(self.priority) };
        (!self.upgrade, arrival, self.number)
    }

    fn conflicts(&self, other: &Request) -> bool {
        self.mode == Mode::Write || other.mode == Mode::Write
    }
}

/// What becomes of a request that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Granted,
    Waits,
    /// It would have had to wait and would not.
    Refused,
}

/// One resource.
#[derive(Clone, Debug, Default)]
pub(super) struct Specification {
    /// In the order of their grants.
    pub(super) holders: Vec<Request>,
    /// In the order of the queue.
    pub(super) waiters: Vec<Request>,
    /// The mode of each grant that was no re-entry.
    pub(super) grants: Vec<Mode>,
}

impl Specification {
    pub(super) fn requests(&self) -> impl Iterator<Item = &Request> {
        self.holders.iter().chain(&self.waiters)
    }

    /// An owner asks as the first of its ancestors that holds the resource.
    pub(super) fn ask(&mut self, mut request: Request, ancestors: &[u64], waits: bool) -> Outcome {
        let holds = |owner: &&u64| self.holders.iter().any(|held| held.owner == **owner);
        request.owner = *ancestors.iter().find(holds).unwrap_or(&request.owner);
        request.upgrade = holds(&&request.owner) && self.re_entered(&request).is_none();
        if self.re_entered(&request).is_some() {
            self.grant(request);
            return Outcome::Granted;
        }
        self.waiters.push(request);
        self.waiters.sort_by_key(Request::place);
        self.settle();
        if self.holders.iter().any(|held| held.number == request.number) {
            return Outcome::Granted;
        }
        if !waits {
            self.waiters.retain(|waiter| waiter.number != request.number);
            return Outcome::Refused;
        }
        Outcome::Waits
    }

    pub(super) fn release(&mut self, number: u64) {
        self.holders.retain(|held| held.number != number);
        self.settle();
    }

    /// All grants of a token end; answers whose they were.
    pub(super) fn revoke(&mut self, token: Option<Token>) -> Vec<Request> {
        let broken = self.holders.extract_if(.., |held| held.token == token).collect();
        self.settle();
        broken
    }

    pub(super) fn leave(&mut self, number: u64) {
        self.waiters.retain(|waiter| waiter.number != number);
        self.settle();
    }

    pub(super) fn downgrade(&mut self, number: u64) {
        for held in self.holders.iter_mut().filter(|held| held.number == number) {
            held.mode = Mode::Read;
        }
        self.settle();
    }

    /// Rule 3: whoever conflicts with no holder besides its own owner and with no waiter before it is granted.
    fn settle(&mut self) {
        let may_enter = |at: &usize| {
            let wanted = &self.waiters[*at];
            let others = |held: &&Request| held.owner != wanted.owner;
            !self.holders.iter().filter(others).chain(&self.waiters[..*at]).any(|other| other.conflicts(wanted))
        };
        if let Some(at) = (0..self.waiters.len()).find(may_enter) {
            let granted = self.waiters.remove(at);
            self.grant(granted);
            self.settle();
        }
    }

    /// Rule 7.
    fn grant(&mut self, mut request: Request) {
        request.token = self.re_entered(&request).or_else(|| {
            self.grants.push(request.mode);
            Some(self.grants.len() - 1)
        });
        self.holders.push(request);
    }

    /// Rule 4: the grant that a request of its owner would enter again, if one covers it.
    fn re_entered(&self, request: &Request) -> Option<Token> {
        let own = || self.holders.iter().filter(|held| held.owner == request.owner);
        let strongest = own().map(|held| held.mode).max()?;
        let covers = strongest == Mode::Write || request.mode == Mode::Read;
        covers.then(|| own().filter(|held| held.mode == strongest).filter_map(|held| held.token).max())?
    }

    /// No two owners hold what conflicts.
    pub(super) fn excludes(&self) -> Result<(), String> {
        for (place, held) in self.holders.iter().enumerate() {
            let clash = self.holders[..place].iter().find(|other| other.owner != held.owner && other.conflicts(held));
            if let Some(other) = clash {
                return Err(format!("{other:?} and {held:?} hold together"));
            }
        }
        Ok(())
    }

    /// A later grant that is not a re-entry has overtaken nobody that it conflicts with.
    pub(super) fn overtakes_nobody_since(&self, before: &Specification) -> Result<(), String> {
        let held_before = |number| before.holders.iter().any(|held| held.number == number);
        for granted in self.holders.iter().filter(|held| !held_before(held.number) && before.re_entered(held).is_none())
        {
            let passed =
                self.waiters.iter().find(|waiter| waiter.place() < granted.place() && waiter.conflicts(granted));
            if let Some(passed) = passed {
                return Err(format!("{granted:?} passed {passed:?}"));
            }
        }
        Ok(())
    }

    /// Without arrivals, the lock is free in the end.
    pub(super) fn drains(&mut self) -> Result<(), String> {
        while let Some(number) = self.holders.first().map(|held| held.number) {
            self.release(number);
        }
        if self.waiters.is_empty() { Ok(()) } else { Err(format!("nobody holds, and these wait: {:?}", self.waiters)) }
    }
}
