//! Random histories, judged afterwards.

use concurrent_locks::Mode;

use crate::{
    bench::Bench,
    case::cases,
    history::{Plan, Record, Rules, judge, run, seed},
};

cases! {
    of_one_process,
    of_one_process_on_one_name,
    of_several_processes [AcrossProcesses],
}

fn of_one_process(bench: &Bench) {
    let plan = Plan { seed: seed("of_one_process"), tasks: 12, threads: 4, requests: 150, names: 3 };
    check(bench, run(bench.locks(), plan), plan.seed);
}

fn of_one_process_on_one_name(bench: &Bench) {
    let plan = Plan { seed: seed("of_one_process_on_one_name"), tasks: 6, threads: 2, requests: 200, names: 1 };
    check(bench, run(bench.locks(), plan), plan.seed);
}

fn of_several_processes(bench: &Bench) {
    let seed = seed("of_several_processes");
    let mut takers = [0; 3].map(|_| bench.taker());
    for (taker, number) in takers.iter_mut().zip(1..) {
        taker.send(&format!("history {} 6 2 120 3", seed.wrapping_add(number * 1000)));
    }
    let ours = Plan { seed, tasks: 6, threads: 2, requests: 120, names: 3 };
    let mut records = run(bench.locks(), ours);
    for taker in &mut takers {
        loop {
            let answer = taker.answer();
            if answer.text() == "end" {
                break;
            }
            records.push(answer.text().parse().expect("a record"));
        }
    }
    assert_eq!(records.len(), 4 * 8 * 120);
    check(bench, records, seed);
}

fn check(bench: &Bench, records: Vec<Record>, seed: u64) {
    let capabilities = bench.locks().capabilities();
    if let Err(broken) = judge(&records, Rules { exclusive: true, fair: capabilities.fair }) {
        panic!("seed {seed}: {broken}");
    }
    for name in 0..3 {
        let name = format!("history/{name}");
        bench.assert_free(&name);
        if !capabilities.inspect {
            continue;
        }
        for mode in Mode::ALL {
            let Some(counted) = bench.locks().statistics(&name).blocking().unwrap().remove(&mode) else { continue };
            assert_eq!(counted.total_acquisitions, counted.total_releases, "{counted:?}");
            assert_eq!((counted.current_holders, counted.current_waiters), (0, 0), "{counted:?}");
        }
    }
}
