use std::{
    cell::Cell,
    future::{Future, IntoFuture},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Waker},
    thread,
};

use super::*;
use crate::{ErrorKind, LockManager};

const fn crosses_threads<T: Send + Sync>() {}
const fn is_sent<T: Send>() {}

const _: () = {
    // Data that is not shared is enough for a mutex, also across an await.
    crosses_threads::<Mutex<Cell<u8>>>();
    is_sent::<MutexGuard<'_, Cell<u8>>>();
    is_sent::<Accessing<'_, Mutex<Cell<u8>>, MutexGuard<'_, Cell<u8>>>>();
    crosses_threads::<RwLock<String>>();
    crosses_threads::<ReadGuard<String>>();
    is_sent::<WriteGuard<'_, String>>();
};

#[test]
fn threads_and_tasks_lose_no_update() {
    let count = Mutex::new("local-updates", 0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..1000 {
                *count.lock().blocking().unwrap() += 1;
            }
        });
        runtime.block_on(async {
            for _ in 0..1000 {
                *count.lock().await.unwrap() += 1;
            }
        });
    });
    assert_eq!(count.into_inner(), Some(2000));
}

#[test]
fn readers_read_together_and_a_writer_alone() {
    let text = RwLock::new("local-readers", String::from("a")).unwrap();
    let readers = [text.read().blocking().unwrap(), text.read().blocking().unwrap()];
    assert_eq!(text.write().try_now().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(readers.map(|reader| reader.len()), [1, 1]);
    text.write().blocking().unwrap().push('b');
    assert_eq!(*text.read().blocking().unwrap(), "ab");
}

#[test]
fn a_panic_returns_the_data() {
    let list = Mutex::new("local-panic", vec![1]).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        list.lock().blocking().unwrap().push(2);
        let _guard = list.lock().blocking().unwrap();
        panic!("a section that panics, for the test");
    }));
    assert!(panicked.is_err());
    assert_eq!(*list.lock().try_now().unwrap(), [1, 2]);
}

#[test]
fn a_dropped_future_leaves_the_queue_and_takes_nothing() {
    let list = RwLock::new("local-cancel", vec![1]).unwrap();
    let holder = list.write().blocking().unwrap();
    for _ in 0..2 {
        let mut waiting = pin!(list.read().into_future());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let status = LockManager::local().status("local-cancel").blocking().unwrap().unwrap();
    assert!(status.waiters.is_empty());
    drop(holder);
    list.write().try_now().unwrap().push(2);
    assert_eq!(list.read().try_now().unwrap().len(), 2);
}

#[test]
fn the_data_of_a_broken_lock_is_with_its_holder_until_that_is_done() {
    let locks = LockManager::local();
    let value = RwLock::new("local-broken", 1).unwrap();
    let broken = |token| locks.break_lock("local-broken", token).blocking().unwrap();

    let mut writer = value.write().blocking().unwrap();
    broken(writer.lock.token());
    for error in [value.read().try_now().unwrap_err(), value.write().try_now().map(drop).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    }
    *writer = 2;
    drop(writer);

    let reader = value.read().blocking().unwrap();
    broken(reader.lock.token());
    assert_eq!(value.write().try_now().map(drop).unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!((*reader, *value.read().try_now().unwrap()), (2, 2));
    drop(reader);
    *value.write().try_now().unwrap() = 3;
    assert_eq!(*value.read().try_now().unwrap(), 3);
}
