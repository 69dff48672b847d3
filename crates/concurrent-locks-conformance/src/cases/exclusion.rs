//! Writers are exclusive; readers share.

use std::thread;

use concurrent_locks::{Fairness, Mode};

use crate::{bench::Bench, case::cases, section::Section};

cases! {
    a_writer_keeps_everybody_out,
    readers_keep_writers_out,
    readers_hold_it_together,
    different_names_do_not_meet,
    a_dropped_guard_leaves_a_free_lock,
    threads_exclude_each_other,
    tasks_exclude_each_other,
    threads_and_tasks_exclude_each_other,
    handles_and_names_meet,
    a_barging_window_keeps_exclusion,
}

fn a_writer_keeps_everybody_out(bench: &Bench) {
    let guard = bench.locks().write("a").try_now().unwrap();
    bench.assert_busy("a", Mode::Read);
    bench.assert_busy("a", Mode::Write);
    drop(guard);
    bench.assert_free("a");
}

fn readers_keep_writers_out(bench: &Bench) {
    let guard = bench.locks().read("a").try_now().unwrap();
    bench.assert_busy("a", Mode::Write);
    drop(guard);
    bench.assert_free("a");
}

fn readers_hold_it_together(bench: &Bench) {
    let mut guards: Vec<_> = (0..20).map(|_| bench.locks().read("a").try_now().unwrap()).collect();
    while let Some(guard) = guards.pop() {
        bench.assert_busy("a", Mode::Write);
        drop(guard);
    }
    bench.assert_free("a");
}

fn different_names_do_not_meet(bench: &Bench) {
    let _a = bench.locks().write("a").try_now().unwrap();
    let _b = bench.locks().write("b").try_now().unwrap();
    let _nested = bench.locks().write("a/b").try_now().unwrap();
}

fn a_dropped_guard_leaves_a_free_lock(bench: &Bench) {
    for mode in Mode::ALL {
        drop(bench.locks().request("a", mode).try_now().unwrap());
        drop(bench.locks().request("a", mode).blocking().unwrap());
        bench.assert_free("a");
    }
}

fn threads_exclude_each_other(bench: &Bench) {
    let section = Section::default();
    thread::scope(|scope| {
        for worker in 0..8 {
            let section = &section;
            scope.spawn(move || {
                for round in 0..250 {
                    let mode = if (worker + round) % 3 == 0 { Mode::Write } else { Mode::Read };
                    let _guard = bench.locks().request("a", mode).blocking().unwrap();
                    section.visit(mode);
                }
            });
        }
    });
    assert_eq!(section.visits(), 8 * 250);
    bench.assert_free("a");
}

fn tasks_exclude_each_other(bench: &Bench) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let section = std::sync::Arc::new(Section::default());
    let tasks: Vec<_> = (0..16)
        .map(|worker| {
            let (locks, section) = (bench.locks().clone(), section.clone());
            runtime.spawn(async move {
                for round in 0..100 {
                    let mode = if (worker + round) % 3 == 0 { Mode::Write } else { Mode::Read };
                    let _guard = locks.request("a", mode).await.unwrap();
                    section.visit(mode);
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
    assert_eq!(section.visits(), 16 * 100);
    bench.assert_free("a");
}

fn threads_and_tasks_exclude_each_other(bench: &Bench) {
    let section = Section::default();
    thread::scope(|scope| {
        for worker in 0..6 {
            let section = &section;
            scope.spawn(move || {
                for round in 0..200 {
                    let mode = if round % 4 == 0 { Mode::Write } else { Mode::Read };
                    let request = bench.locks().request("a", mode);
                    let _guard =
                        if worker % 2 == 0 { request.blocking() } else { pollster::block_on(request.into_future()) };
                    section.visit(mode);
                }
            });
        }
    });
    assert_eq!(section.visits(), 6 * 200);
    bench.assert_free("a");
}

fn handles_and_names_meet(bench: &Bench) {
    let handle = bench.locks().resource("a").unwrap();
    assert_eq!(handle.name(), "a");
    for _ in 0..3 {
        let by_handle = handle.write().try_now().unwrap();
        bench.assert_busy("a", Mode::Read);
        drop(by_handle);
        let by_name = bench.locks().read("a").try_now().unwrap();
        assert!(handle.write().try_now().is_err());
        drop(handle.read().blocking().unwrap());
        drop(by_name);
    }
    bench.assert_free("a");
}

fn a_barging_window_keeps_exclusion(bench: &Bench) {
    let locks = bench.with(|settings| settings.fairness(Fairness::Window));
    let section = Section::default();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (section, locks) = (&section, &locks);
            scope.spawn(move || {
                for round in 0..1000 {
                    let mode = if (worker + round) % 5 == 0 { Mode::Read } else { Mode::Write };
                    let _guard = locks.request("a", mode).blocking().unwrap();
                    section.visit(mode);
                }
            });
        }
    });
    assert_eq!(section.visits(), 4 * 1000);
    bench.assert_free("a");
}
