//! Project tasks. `cargo xtask help` lists them; `.ci/run` and the README call the same ones.

mod arrows;
mod bench;
mod death;
mod differential;
mod features;
mod layers;
mod lint;
mod mutations;
mod python;
mod servers;
mod step;
mod test;
mod tools;
mod variants;
mod versions;
mod words;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask TASK [ARGS]

  test [ARGS]    install what the tests need, start the servers they share, run all tests, doctests and
                 Python tests; ARGS go to nextest, and then only its tests run
  test-python    the tests of the Python package alone, in an environment of its own under target/
  lint           formatting, clippy, documentation, layers, words, dependencies (cargo-deny, if installed), and the
                 Python package's ruff, mypy, stubtest and pyright
  loom           the lock-free protocols in every schedule
  portable       the engines of systems other than Linux, run on this one
  versions       the suite on Redis 6.2 and on Valkey, which come as packages of Python
  ci             lint, test, loom, portable, versions: what .ci/run does
  features       the sets of features that people use, each compiled alone
  wheels         the Python wheel and source distribution, into target/dist
  layers         check which module of the library may use which
  words          check that texts and names use the words of docs/design/glossary.md
  bench [ARGS]   the benchmarks; ARGS go to locks-bench (--quick, --only GROUP, --json)
  bench-python   the Python package's benchmarks [--quick]
  death [ARGS]   kill a process at every instruction of the lock paths (long); ARGS go to the stepper
                 (--stride N, --points N, names of scenarios)
  differential [N] [TEST]  replay N random histories (a million) on the table, Redis and PostgreSQL beside the
                 specification of the grant rule (long); TEST is part of a test's name
  mutations [TEST]  put faults into the rule, one by one, and see that the differential test notices";

fn main() -> ExitCode {
    if let Some(code) = variants::compile() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((task, rest)) = arguments.split_first() else {
        eprintln!("{HELP}");
        return ExitCode::from(64);
    };
    let result = match (task.as_str(), rest) {
        ("test", rest) => test::run(rest),
        ("lint", []) => lint::run(),
        ("ci", []) => lint::run()
            .and_then(|()| test::run(&[]))
            .and_then(|()| variants::loom())
            .and_then(|()| variants::portable())
            .and_then(|()| versions::run()),
        ("layers", []) => layers::run(),
        ("features", []) => features::run(),
        ("words", []) => words::run(),
        ("test-python", []) => python::test(),
        ("wheels", []) => python::wheels(),
        ("bench-python", rest) => python::bench(rest),
        ("loom", []) => variants::loom(),
        ("portable", []) => variants::portable(),
        ("versions", []) => versions::run(),
        ("bench", rest) => bench::run(rest),
        ("death", rest) => death::run(rest),
        ("differential", rest) => differential::run(rest),
        ("mutations", rest) => mutations::run(rest),
        ("help" | "--help" | "-h", _) => {
            eprintln!("{HELP}");
            Ok(())
        }
        _ => {
            eprintln!("unknown task: {}\n\n{HELP}", arguments.join(" "));
            return ExitCode::from(64);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("\nxtask {task}: {problem}");
            ExitCode::FAILURE
        }
    }
}
