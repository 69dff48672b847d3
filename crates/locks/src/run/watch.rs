//! Watching over the locks while the command runs, and ending the command in time when one is lost.

use std::{
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use concurrent_locks::{Error, GuardAll};
use rustix::process::Signal;

use super::{
    deadline::{Deadline, Demand, Look},
    family::Family,
    happenings::Happenings,
};
use crate::output::Output;

/// How often is looked whether the processes that the command left behind have ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The locks of one command.
pub(crate) struct Watch<'a> {
    guards: &'a GuardAll,
    output: &'a Output,
    losses: Receiver<Error>,
    loss: Option<Error>,
    deadline: Deadline,
    began: Instant,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(guards: &'a GuardAll, happenings: &Happenings, output: &'a Output) -> Watch<'a> {
        let (sender, losses) = mpsc::channel();
        let waker = happenings.waker();
        guards.on_lost(move |loss| {
            // Once the command has ended, nobody wants to know.
            let _ = sender.send(loss);
            waker.wake();
        });
        Watch { guards, output, losses, loss: None, deadline: Deadline::default(), began: Instant::now() }
    }

    /// Whether the command was asked to end.
    pub(crate) fn has_ended_it(&self) -> bool {
        self.deadline != Deadline::Safe
    }

    /// Does what is due; how long nothing else is.
    pub(crate) fn look(&mut self, family: &mut Family) -> Duration {
        loop {
            self.loss = self.loss.take().or_else(|| self.losses.try_recv().ok());
            let look = Look { lease: self.guards.lease(), lost: self.loss.is_some() };
            match self.deadline.look(self.began.elapsed(), look) {
                Demand::Wait(time) => return time,
                Demand::Terminate => {
                    self.say();
                    family.send(Signal::TERM);
                    // A stopped process handles no signal.
                    family.send(Signal::CONT);
                }
                Demand::Kill => {
                    self.output.warning("the command did not end in time: killing it");
                    family.kill();
                }
            }
        }
    }

    /// When the command has ended because it was asked to: leaves what it started the same time.
    pub(crate) fn see_off(&mut self, family: &mut Family, happenings: &Happenings) {
        while self.has_ended_it() && !family.has_ended() {
            let wait = self.look(family);
            happenings.next(wait.min(LOOK_EVERY));
        }
    }

    fn say(&self) {
        if let Some(loss) = &self.loss {
            self.output.warning(format_args!("ending the command: {loss}"));
            return;
        }
        let leases = self.guards.iter().filter_map(|guard| Some((guard.lease()?, guard)));
        if let Some((lease, guard)) = leases.min_by_key(|(lease, _)| lease.remaining) {
            let (name, left) = (guard.name().unwrap_or_default(), lease.remaining.as_secs_f64());
            self.output.warning(format_args!(
                "ending the command: the lease of {name:?} could not be renewed and expires in {left:.1} s"
            ));
        }
    }
}
