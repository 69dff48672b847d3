//! Races that no test can hit from outside: here the table is led into them.

use std::{
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    task::{Wake, Waker},
};

use super::*;
use crate::{
    engine::{Progress, Terms, Wait},
    words::{mode::Mode, settings::Settings},
};

/// For what must happen.
const DEADLINE: Duration = Duration::from_secs(30);

fn ask(name: &str, wait: Wait) -> Ask<'_> {
    Ask::new(Name::new(name).unwrap(), Mode::Write, Terms::of(&Settings::default())).waiting(wait)
}

#[track_caller]
fn granted(table: &Table) -> Grant {
    match table.begin(&ask("a", Wait::No)) {
        Ok(Progress::Granted(grant)) => grant,
        other => panic!("not granted: {other:?}"),
    }
}

#[track_caller]
fn queued(table: &Table, wait: Wait) -> Ticket {
    match table.begin(&ask("a", wait)) {
        Ok(Progress::Queued(ticket)) => ticket,
        other => panic!("not queued: {other:?}"),
    }
}

#[track_caller]
fn release(table: &Table, grant: &Grant) {
    table.release(grant, Ending::Normal, Fairness::Strict).unwrap();
}

/// A waker that reports each time.
struct Bell(Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Nobody listens any more: the test has ended.
        let _ = self.0.send(());
    }
}

/// A future times out in the very instant in which it is granted: it finds the grant on its way
/// out of the queue. The next user of its record must not be taken for it.
#[test]
fn a_grant_found_on_the_way_out_leaves_no_waker_behind() {
    let table = Table::local("local:left-behind".to_owned(), Geometry::DEFAULT).unwrap();
    let (sender, rings) = channel();
    let waker = Waker::from(Arc::new(Bell(sender)));
    let context = &mut Context::from_waker(&waker);
    let held = granted(table);
    let first = queued(table, Wait::For(100 * DEADLINE));
    let other = queued(table, Wait::Forever);
    assert!(table.poll(&first, context).is_pending());
    release(table, &held);
    let grant = table.time_out(table.me().unwrap(), &first).expect("it was granted before it left");
    release(table, &grant);

    let second = queued(table, Wait::For(Duration::from_millis(200)));
    assert_eq!(record_of(second.handle), record_of(first.handle), "the test needs the same record");
    let error = loop {
        while rings.try_recv().is_ok() {}
        match table.poll(&second, context) {
            Poll::Pending => rings.recv_timeout(DEADLINE).expect("its time is served"),
            Poll::Ready(result) => break result.unwrap_err(),
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    release(table, &table.park(&other, &mut || true).unwrap().unwrap());
}

/// The first who finds out that the table's file is gone has not asked for anything yet.
#[test]
#[cfg(all(target_os = "linux", not(concurrent_locks_portable)))]
fn a_request_that_finds_the_table_gone_keeps_no_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table");
    let table = Table::host(&path, Geometry::DEFAULT, super::Sharing::User).unwrap();
    let me = table.me().unwrap();
    let next = table.take_record(me).unwrap();
    table.return_record(me, next);
    std::fs::remove_file(&path).unwrap();
    // As if it had last looked long ago.
    me.checked.store(0, std::sync::atomic::Ordering::Relaxed);
    let error = table.begin(&ask("a", Wait::No)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert_eq!(table.take_record(me).unwrap(), next, "a record is missing");
}
