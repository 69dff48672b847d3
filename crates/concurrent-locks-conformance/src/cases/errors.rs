//! A section that fails leaves a free lock; unsupported requests fail with an error.

use std::{
    error::Error as _,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

use concurrent_locks::{Error, ErrorKind, LockManager, Mode};

use crate::{bench::Bench, case::cases};

cases! {
    an_error_in_the_section_leaves_a_free_lock,
    a_panic_in_the_section_leaves_a_free_lock,
    a_panicking_thread_leaves_a_free_lock,
    a_panicking_task_leaves_a_free_lock,
    a_panic_is_counted_as_an_error [Inspect],
    a_nonsense_url_is_refused,
    managers_of_one_url_meet,
    an_error_becomes_an_io_error,
    what_the_engine_cannot_do_is_refused,
}

/// A panic without the noise of the panic hook.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("on purpose"))
}

fn an_error_in_the_section_leaves_a_free_lock(bench: &Bench) {
    fn section(locks: &LockManager) -> Result<(), io::Error> {
        let _write = locks.write("a").blocking()?;
        let _read = locks.read("b").blocking()?;
        Err(io::Error::other("the disk is full"))
    }
    section(bench.locks()).unwrap_err();
    bench.assert_free("a");
    bench.assert_free("b");
}

fn a_panic_in_the_section_leaves_a_free_lock(bench: &Bench) {
    for mode in Mode::ALL {
        let section = || {
            let _guard = bench.locks().request("a", mode).blocking().unwrap();
            let _more = bench.locks().lock_all([("b", mode), ("c", mode)]).blocking().unwrap();
            panic_quietly();
        };
        catch_unwind(AssertUnwindSafe(section)).unwrap_err();
        ["a", "b", "c"].iter().for_each(|name| bench.assert_free(name));
    }
}

fn a_panicking_thread_leaves_a_free_lock(bench: &Bench) {
    thread::scope(|scope| {
        let section = scope.spawn(|| {
            let _guard = bench.locks().write("a").blocking().unwrap();
            panic_quietly();
        });
        assert!(section.join().is_err());
    });
    bench.assert_free("a");
}

fn a_panicking_task_leaves_a_free_lock(bench: &Bench) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let locks = bench.locks().clone();
    let task = runtime.spawn(async move {
        let _guard = locks.write("a").await.unwrap();
        tokio::task::yield_now().await;
        panic_quietly();
    });
    assert!(runtime.block_on(task).unwrap_err().is_panic());
    bench.assert_free("a");
}

fn a_panic_is_counted_as_an_error(bench: &Bench) {
    let section = || {
        let _guard = bench.locks().write("a").blocking().unwrap();
        panic_quietly();
    };
    catch_unwind(AssertUnwindSafe(section)).unwrap_err();
    let statistics = &bench.locks().statistics("a").blocking().unwrap()[&Mode::Write];
    assert_eq!((statistics.total_acquisitions, statistics.total_releases), (1, 1));
    assert_eq!(statistics.total_errors, 1);
}

fn a_nonsense_url_is_refused(bench: &Bench) {
    for url in ["", "local", "redis", "ftp:x", "file:", "host:../up"] {
        let error = LockManager::connect(url).blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(bench.locks().url(), bench.url());
}

fn managers_of_one_url_meet(bench: &Bench) {
    let other = LockManager::connect(bench.url()).blocking().unwrap();
    let guard = other.write("a").blocking().unwrap();
    bench.assert_busy("a", Mode::Read);
    drop(guard);
    bench.assert_free("a");
}

fn an_error_becomes_an_io_error(bench: &Bench) {
    let _guard = bench.locks().write("a").blocking().unwrap();
    let busy = bench.locks().write("a").try_now().unwrap_err();
    let error = io::Error::from(busy.clone());
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).unwrap();
    assert_eq!(inner.to_string(), busy.to_string());
    assert!(inner.source().is_none());
}

fn what_the_engine_cannot_do_is_refused(bench: &Bench) {
    let locks = bench.locks();
    let can = locks.capabilities();
    let unsupported = |result: Result<(), Error>, what: &str| {
        assert_eq!(result.expect_err(what).kind(), ErrorKind::Unsupported, "{what}");
    };
    if !can.priority {
        unsupported(locks.write("a").priority(1).try_now().map(drop), "a priority");
        bench.assert_free("a");
    }
    if !can.upgrade {
        let mut guard = locks.read("a").blocking().unwrap();
        unsupported(guard.upgrade().blocking(), "an upgrade");
        assert_eq!(guard.mode(), Mode::Read);
    }
    if !can.downgrade {
        let mut guard = locks.write("a").blocking().unwrap();
        unsupported(guard.downgrade(), "a downgrade");
        bench.assert_busy("a", Mode::Read);
    }
    if !can.revoke {
        let guard = locks.write("a").blocking().unwrap();
        unsupported(locks.break_lock("a", guard.token()).blocking().map(drop), "a break");
        guard.release().unwrap();
    }
    bench.assert_free("a");
}
