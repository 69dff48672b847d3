//! For tests: an engine with leases, whose server does what the test says. All else is a `local:` table's.

use std::{
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    engine::{Ask, Capabilities, Ending, Engine, Grant, Progress, Tenure, Ticket},
    words::{
        deadlock::DeadlockReport,
        error::{Error, ErrorKind},
        event::Event,
        lease::{Lease, Standing},
        name::Name,
        settings::Fairness,
        stats::StatisticsMap,
        status::{Health, Holder, StatusMap},
    },
};

type Told<T> = Box<dyn FnOnce(T) + Send>;

pub(crate) struct LeasedEngine {
    table: &'static dyn Engine,
    server: Mutex<Server>,
}

#[derive(Default)]
struct Server {
    /// How each request was begun, and with which `max_hold`.
    asked: Vec<(&'static str, Option<Duration>)>,
    /// Of which handle.
    max_holds: Vec<(u64, Option<Duration>)>,
    /// Whom to tell of the loss of which handle.
    watches: Vec<(u64, Told<Error>)>,
    /// Waiters for an answer.
    questions: Vec<Told<Standing>>,
    /// Whether the leases of all grants have expired.
    over: bool,
}

impl LeasedEngine {
    pub(crate) const LEASE: Duration = Duration::from_secs(9);

    pub(crate) fn over(table: &'static dyn Engine) -> &'static LeasedEngine {
        Box::leak(Box::new(LeasedEngine { table, server: Mutex::default() }))
    }

    /// The lease of everything that is watched expires.
    pub(crate) fn lose_all(&self) {
        let watches = std::mem::take(&mut self.server().watches);
        for (_, tell) in watches {
            tell(Error::new(ErrorKind::Lost, "the lease has expired"));
        }
    }

    /// The leases of what is held have expired, and nobody was notified yet.
    fn end_leases(&self) {
        self.server().over = true;
    }

    /// How many grants are watched.
    pub(crate) fn watched(&self) -> usize {
        self.server().watches.len()
    }

    /// Answers the oldest question; drops it if `None`.
    pub(crate) fn answer(&self, standing: Option<Standing>) {
        let tell = self.server().questions.remove(0);
        if let Some(standing) = standing {
            tell(standing);
        }
    }

    pub(crate) fn asked(&self) -> Vec<(&'static str, Option<Duration>)> {
        std::mem::take(&mut self.server().asked)
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, grant: &Grant) {
        self.server().watches.retain(|(handle, _)| *handle != grant.handle);
    }
}

impl Engine for LeasedEngine {
    fn url(&self) -> &str {
        self.table.url()
    }

    fn enter(&self) -> Result<(), Error> {
        self.table.enter()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { lease: true, ..self.table.capabilities() }
    }

    fn begin(&self, ask: &Ask<'_>) -> Result<Progress, Error> {
        let max_hold = ask.max_hold.time();
        self.server().asked.push((if ask.parks { "begin" } else { "ask" }, max_hold));
        let progress = self.table.begin(ask)?;
        if let Progress::Granted(grant) = progress {
            self.server().max_holds.push((grant.handle, max_hold));
        }
        Ok(progress)
    }

    fn poll(&self, ticket: &Ticket, context: &mut Context<'_>) -> Poll<Result<Grant, Error>> {
        self.table.poll(ticket, context)
    }

    fn park(&self, ticket: &Ticket, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Grant>, Error> {
        self.table.park(ticket, go_on)
    }

    fn abandon(&self, ticket: &Ticket) {
        self.table.abandon(ticket);
    }

    fn release(&self, grant: &Grant, ending: Ending, fairness: Fairness) -> Result<(), Error> {
        self.forget(grant);
        self.table.release(grant, ending, fairness)
    }

    fn downgrade(&self, grant: &Grant) -> Result<Grant, Error> {
        self.table.downgrade(grant)
    }

    fn tenure(&self, grant: &Grant) -> Tenure {
        let max_hold =
            self.server().max_holds.iter().find_map(|(handle, time)| time.filter(|_| *handle == grant.handle));
        Tenure { max_hold, ..self.table.tenure(grant) }
    }

    fn name_of(&self, grant: &Grant) -> Result<String, Error> {
        self.table.name_of(grant)
    }

    fn verify(&self, grant: &Grant) -> Standing {
        match self.table.verify(grant) {
            Standing::Held => Standing::Renewed,
            other => other,
        }
    }

    fn verify_later(&self, _grant: &Grant, tell: Told<Standing>) {
        self.server().questions.push(tell);
    }

    fn lease(&self, grant: &Grant) -> Option<Lease> {
        let spent = if self.server().over { LeasedEngine::LEASE } else { self.tenure(grant).held_for };
        Some(Lease::new(LeasedEngine::LEASE, LeasedEngine::LEASE.saturating_sub(spent)))
    }

    fn on_lost(&self, grant: &Grant, tell: Told<Error>) {
        self.server().watches.push((grant.handle, tell));
    }

    fn record_order(&self, earlier: Name<'_>, later: Name<'_>, label: &str) -> Result<(), Error> {
        self.table.record_order(earlier, later, label)
    }

    fn status(&self, name: Option<Name<'_>>) -> Result<StatusMap, Error> {
        self.table.status(name)
    }

    fn statistics(&self, name: Option<Name<'_>>) -> Result<StatisticsMap, Error> {
        self.table.statistics(name)
    }

    fn reset_statistics(&self, name: Option<Name<'_>>) -> Result<(), Error> {
        self.table.reset_statistics(name)
    }

    fn deadlocks(&self, suspect_after: Duration) -> Result<DeadlockReport, Error> {
        self.table.deadlocks(suspect_after)
    }

    fn events(&self, cursor: Option<u64>, wait: Duration) -> Result<(Vec<Event>, u64), Error> {
        self.table.events(cursor, wait)
    }

    fn revoke(&self, name: Name<'_>, token: u64) -> Result<Holder, Error> {
        self.table.revoke(name, token)
    }

    fn health(&self) -> Result<Health, Error> {
        self.table.health()
    }
}

mod tests {
    use std::{
        future::{Future, IntoFuture},
        pin::{Pin, pin},
        sync::mpsc,
        task::Waker,
    };

    use super::*;
    use crate::{LockManager, Mode};

    fn leased(space: &str) -> (LockManager, &'static LeasedEngine) {
        let table = LockManager::connect(&format!("local:leased-{space}")).blocking().unwrap();
        let engine = LeasedEngine::over(table.engine());
        (LockManager::on(engine), engine)
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn now<F: Future>(future: impl IntoFuture<IntoFuture = F>) -> F::Output {
        let Poll::Ready(output) = poll(pin!(future.into_future())) else { panic!("it waits") };
        output
    }

    #[test]
    fn futures_ask_and_threads_begin() {
        let (locks, engine) = leased("asks");
        let hold = Duration::from_secs(3);
        drop(now(locks.write("a").max_hold(hold)).unwrap());
        drop(locks.write("a").ask().unwrap());
        drop(now(locks.lock_all([("a", Mode::Write), ("b", Mode::Read)]).max_hold(hold)).unwrap());
        let mut guard = locks.read("a").max_hold(hold).ask().map(|begun| match begun {
            crate::Begun::Granted(guard) => guard,
            crate::Begun::Queued(_) => panic!("it is free"),
        });
        now(guard.as_mut().unwrap().upgrade()).unwrap();
        drop(guard);
        let mut guard = locks.read("a").blocking().unwrap();
        assert!(guard.upgrade().begin().unwrap().is_none());
        drop(guard);
        let mut guard = locks.read("a").try_now().unwrap();
        assert!(guard.upgrade().ask().unwrap().is_none());
        drop(guard);
        let [with, without] = [Some(hold), None].map(|hold| ("ask", hold));
        let expected =
            [with, without, with, with, with, with, ("begin", None), ("begin", None), ("begin", None), without];
        assert_eq!(engine.asked(), expected);
    }

    #[test]
    fn a_hold_of_no_time_is_refused() {
        let (locks, _) = leased("zero");
        let error = locks.write("a").max_hold(Duration::ZERO).try_now().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_loss_reaches_futures_and_callbacks() {
        let (locks, engine) = leased("loss");
        let guard = locks.write("a").blocking().unwrap();
        let mut lost = guard.lost();
        assert!(poll(Pin::new(&mut lost)).is_pending());
        let (sender, told) = mpsc::channel();
        let again = sender.clone();
        guard.on_lost(move |error| sender.send(error.kind()).unwrap());
        engine.lose_all();
        assert_eq!(now(lost).kind(), ErrorKind::Lost);
        guard.on_lost(move |error| again.send(error.kind()).unwrap());
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [ErrorKind::Lost; 2]);
        assert_eq!(now(guard.lost()).kind(), ErrorKind::Lost);
    }

    #[test]
    fn asking_for_the_loss_again_and_again_leaves_one_watch() {
        let (locks, engine) = leased("watches");
        let guard = locks.write("a").blocking().unwrap();
        assert_eq!(engine.watched(), 0);
        for _ in 0..10 {
            assert!(poll(pin!(guard.lost())).is_pending());
        }
        assert_eq!(engine.watched(), 1);
        let mut lost = guard.lost();
        guard.release().unwrap();
        assert_eq!(engine.watched(), 0);
        engine.lose_all();
        assert!(poll(Pin::new(&mut lost)).is_pending());
    }

    #[test]
    fn the_watch_goes_along_with_an_upgrade() {
        let (locks, engine) = leased("upgrade");
        let mut guard = locks.read("a").blocking().unwrap();
        let lost = guard.lost();
        guard.upgrade().blocking().unwrap();
        assert_eq!(engine.watched(), 1);
        engine.lose_all();
        assert_eq!(now(lost).kind(), ErrorKind::Lost);
    }

    #[test]
    fn the_first_loss_of_several_is_reported_once() {
        let (locks, engine) = leased("all");
        let guards = locks.lock_all([("a", Mode::Write), ("b", Mode::Write)]).blocking().unwrap();
        let (sender, told) = mpsc::channel();
        guards.on_lost(move |error| sender.send(error.kind()).unwrap());
        let mut lost = guards.lost();
        assert!(poll(Pin::new(&mut lost)).is_pending());
        assert_eq!(engine.watched(), 2);
        engine.lose_all();
        assert_eq!(now(lost).kind(), ErrorKind::Lost);
        assert_eq!(told.try_iter().count(), 1);
        assert!(guards.lease().unwrap().remaining < LeasedEngine::LEASE);
    }

    #[test]
    fn what_lost_a_part_while_it_waited_is_not_entered() {
        let (locks, engine) = leased("part");
        let busy = locks.write("b").blocking().unwrap();
        let mut all = locks.lock_all([("a", Mode::Write), ("b", Mode::Write)]).into_future();
        assert!(poll(Pin::new(&mut all)).is_pending());
        engine.end_leases();
        drop(busy);
        let error = now(all).unwrap_err();
        assert_eq!((error.kind(), error.resource()), (ErrorKind::Lost, Some("a")), "{error}");
        for name in ["a", "b"] {
            assert!(locks.write(name).try_now().is_ok(), "{name} is released");
        }
    }

    #[test]
    fn the_worst_of_several_answers_is_the_answer() {
        let (locks, engine) = leased("worst");
        let guards = locks.lock_all([("a", Mode::Write), ("b", Mode::Write)]).blocking().unwrap();
        for (answers, worst) in [
            ([Some(Standing::Renewed), Some(Standing::Renewed)], Standing::Renewed),
            ([Some(Standing::Lost), Some(Standing::Renewed)], Standing::Lost),
            ([Some(Standing::Renewed), None], Standing::Unknown),
        ] {
            let mut verify = guards.verify().into_future();
            for answer in answers {
                assert!(poll(Pin::new(&mut verify)).is_pending());
                engine.answer(answer);
            }
            assert_eq!(now(verify), worst);
        }
    }

    #[test]
    fn the_last_answer_reaches_a_callback() {
        let (locks, engine) = leased("tell");
        let guards = locks.lock_all([("a", Mode::Write), ("b", Mode::Write)]).blocking().unwrap();
        let (sender, told) = mpsc::channel();
        guards.verify().tell(move |standing| sender.send(standing).unwrap());
        engine.answer(Some(Standing::Unknown));
        assert!(told.try_recv().is_err());
        engine.answer(Some(Standing::Renewed));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [Standing::Unknown]);
    }

    #[test]
    fn an_answer_nobody_waits_for_is_dropped() {
        let (locks, engine) = leased("dropped");
        let guard = locks.write("a").blocking().unwrap();
        assert!(poll(pin!(guard.verify().into_future())).is_pending());
        engine.answer(Some(Standing::Renewed));
        assert_eq!(guard.verify().blocking(), Standing::Renewed);
    }
}
